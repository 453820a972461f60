# folkmoot_test(<name> SOURCES ... DEPS ... [LABEL unit]): a GoogleTest binary, one ctest entry.
# folkmoot_mpi_test(<name> SOURCES ... DEPS ... RANKS 1 2 3 4): one ctest entry per rank count.

find_package(GTest REQUIRED)
include(GoogleTest)

set(FOLKMOOT_TEST_DATA ${CMAKE_SOURCE_DIR}/tests/data)

function(folkmoot_test_binary name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;MAIN" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE folkmoot_options ${ARG_DEPS} GTest::gmock GTest::gtest ${ARG_MAIN})
  folkmoot_build_quickly(${name})
  target_compile_definitions(${name} PRIVATE
    FOLKMOOT_TEST_DATA="${FOLKMOOT_TEST_DATA}" FOLKMOOT_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
endfunction()

function(folkmoot_test name)
  cmake_parse_arguments(ARG "" "LABEL" "SOURCES;DEPS" ${ARGN})
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  folkmoot_test_binary(${name} SOURCES ${ARG_SOURCES} DEPS ${ARG_DEPS} MAIN GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS ${ARG_LABEL} TIMEOUT 600)
endfunction()

function(folkmoot_mpi_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;RANKS" ${ARGN})
  folkmoot_test_binary(${name} SOURCES ${ARG_SOURCES} DEPS ${ARG_DEPS})
  foreach(ranks ${ARG_RANKS})
    add_test(NAME ${name}_n${ranks}
      COMMAND ${MPIEXEC_EXECUTABLE} --oversubscribe --bind-to none ${MPIEXEC_NUMPROC_FLAG} ${ranks}
              $<TARGET_FILE:${name}>)
    set_tests_properties(${name}_n${ranks} PROPERTIES LABELS mpi TIMEOUT 300
      PROCESSORS 2 ENVIRONMENT "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;ASAN_OPTIONS=detect_leaks=0")
  endforeach()
endfunction()
