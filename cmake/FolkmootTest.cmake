# folkmoot_test(<name> [SOURCES ...] [JOINED ...] DEPS ... [LABEL unit]): a GoogleTest binary, one
# ctest entry. JOINED are sources for folkmoot_join.
# folkmoot_mpi_test(<name> SOURCES ... DEPS ... RANKS 1 2 3 4): one ctest entry per rank count.

find_package(GTest REQUIRED)
include(GoogleTest)

set(FOLKMOOT_TEST_DATA ${CMAKE_SOURCE_DIR}/tests/data)
# Seconds. With sanitizers the tests of all models take many times as long.
set(FOLKMOOT_TEST_TIMEOUT 600)
if(FOLKMOOT_SANITIZE)
  set(FOLKMOOT_TEST_TIMEOUT 3600)
endif()
# For tests of the program and of ranks as processes. A process that ends by a report of a sanitizer
# may be started again, as after any other death, and its test pass: reports go to files, and test.sh
# fails when there is one. MPI frees little of its own at the end.
set(folkmoot_reports ${CMAKE_BINARY_DIR}/reports)
file(MAKE_DIRECTORY ${folkmoot_reports})
set(FOLKMOOT_PROGRAM_ENVIRONMENT
  OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 PYTHONDONTWRITEBYTECODE=1)
if(FOLKMOOT_SANITIZE)
  list(APPEND FOLKMOOT_PROGRAM_ENVIRONMENT FOLKMOOT_TEST_PATIENCE=5
    ASAN_OPTIONS=detect_leaks=0:strict_string_checks=1:detect_stack_use_after_return=1:check_initialization_order=1:log_path=${folkmoot_reports}/address
    UBSAN_OPTIONS=print_stacktrace=1:log_path=${folkmoot_reports}/undefined
    TSAN_OPTIONS=second_deadlock_stack=1:suppressions=${CMAKE_SOURCE_DIR}/tests/support/tsan_suppressions.txt:log_path=${folkmoot_reports}/thread)
endif()

# The same for all of them, as precompiled headers ask for it.
function(folkmoot_test_options target)
  folkmoot_build_quickly(${target})
  target_compile_definitions(${target} PRIVATE
    FOLKMOOT_TEST_DATA="${FOLKMOOT_TEST_DATA}" FOLKMOOT_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  target_compile_options(${target} PRIVATE "${FOLKMOOT_PRECOMPILED_OPTIONS}")
endfunction()

# Headers that nearly every test reads, compiled once: two of the five seconds that a test file took.
add_library(folkmoot_test_headers OBJECT ${CMAKE_SOURCE_DIR}/tests/support/precompiled.cc)
target_link_libraries(folkmoot_test_headers PRIVATE folkmoot_options
  absl::status absl::statusor spdlog::spdlog fmt::fmt GTest::gmock GTest::gtest)
target_precompile_headers(folkmoot_test_headers PRIVATE
  <gmock/gmock.h> <gtest/gtest.h> <absl/status/statusor.h> <fmt/format.h>
  <algorithm> <functional> <map> <memory> <string> <thread> <vector>)
folkmoot_test_options(folkmoot_test_headers)

function(folkmoot_test_binary name)
  cmake_parse_arguments(ARG "" "" "SOURCES;JOINED;DEPS;MAIN" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  if(ARG_JOINED)
    folkmoot_join(${name} all ${ARG_JOINED})
  endif()
  target_link_libraries(${name} PRIVATE folkmoot_options ${ARG_DEPS} spdlog::spdlog fmt::fmt
    GTest::gmock GTest::gtest ${ARG_MAIN})
  folkmoot_test_options(${name})
  target_precompile_headers(${name} REUSE_FROM folkmoot_test_headers)
endfunction()

function(folkmoot_test name)
  cmake_parse_arguments(ARG "" "LABEL" "SOURCES;JOINED;DEPS" ${ARGN})
  if(NOT ARG_LABEL)
    set(ARG_LABEL unit)
  endif()
  folkmoot_test_binary(${name} SOURCES ${ARG_SOURCES} JOINED ${ARG_JOINED} DEPS ${ARG_DEPS}
    MAIN GTest::gtest_main)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS ${ARG_LABEL} TIMEOUT ${FOLKMOOT_TEST_TIMEOUT})
  if(FOLKMOOT_SANITIZE AND ARG_DEPS MATCHES "_sim")
    # The simulator of GPUs has a fiber for each thread. Were each to get fake stacks too, a test would
    # take 17 times as long.
    set_tests_properties(${name} PROPERTIES
      ENVIRONMENT ASAN_OPTIONS=strict_string_checks=1:check_initialization_order=1)
  endif()
endfunction()

function(folkmoot_mpi_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;RANKS" ${ARGN})
  folkmoot_test_binary(${name} SOURCES ${ARG_SOURCES} DEPS ${ARG_DEPS})
  foreach(ranks ${ARG_RANKS})
    add_test(NAME ${name}_n${ranks}
      COMMAND ${MPIEXEC_EXECUTABLE} --oversubscribe --bind-to none ${MPIEXEC_NUMPROC_FLAG} ${ranks}
              $<TARGET_FILE:${name}>)
    set_tests_properties(${name}_n${ranks} PROPERTIES LABELS mpi TIMEOUT ${FOLKMOOT_TEST_TIMEOUT}
      PROCESSORS 2 ENVIRONMENT "${FOLKMOOT_PROGRAM_ENVIRONMENT}")
  endforeach()
endfunction()
