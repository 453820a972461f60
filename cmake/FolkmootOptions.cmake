# Compile options that every target of ours shares, and the function that makes a folder's library.

add_library(folkmoot_options INTERFACE)
target_include_directories(folkmoot_options INTERFACE ${CMAKE_SOURCE_DIR} ${CMAKE_BINARY_DIR}/generated)
set(folkmoot_warnings
  -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual
  -Wold-style-cast -Wno-missing-field-initializers -ffp-contract=off
  # g++ 12 sees overlaps in std::string that are not there (its bug 105651).
  $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety>)
if(FOLKMOOT_WERROR)
  list(APPEND folkmoot_warnings -Werror)
endif()
# nvcc has its own (FolkmootCuda.cmake).
target_compile_options(folkmoot_options INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${folkmoot_warnings}>")
if(FOLKMOOT_SANITIZE)
  # Reports need lines, not variables: -O1 -g1 compiles in half the time of -O2 -g.
  set(folkmoot_sanitize
    -fsanitize=${FOLKMOOT_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all -O1 -g1)
  target_compile_options(folkmoot_options INTERFACE "$<$<COMPILE_LANGUAGE:CXX>:${folkmoot_sanitize}>")
  target_link_options(folkmoot_options INTERFACE -fsanitize=${FOLKMOOT_SANITIZE})
  target_compile_definitions(folkmoot_options INTERFACE _GLIBCXX_ASSERTIONS)
  if(FOLKMOOT_SANITIZE MATCHES undefined AND CMAKE_CXX_COMPILER_ID STREQUAL GNU)
    # Its shared library gives log_path to AddressSanitizer's and writes to stderr itself.
    target_link_options(folkmoot_options INTERFACE -static-libubsan)
  endif()
endif()
if(FOLKMOOT_FUZZ)
  # So that libFuzzer sees which branches of ours an input takes.
  target_compile_options(folkmoot_options INTERFACE
    "$<$<COMPILE_LANGUAGE:CXX>:-fsanitize=fuzzer-no-link>")
endif()

# What a break-in has to get past: addresses that cannot be known, tables that cannot be written, a
# stack that runs nothing. cmake/CheckHardening.cmake looks whether it is so.
if(NOT FOLKMOOT_SANITIZE)
  target_link_options(folkmoot_options INTERFACE LINKER:-z,relro,-z,now,-z,noexecstack)
endif()
# folkmoot_harden(<target>): for code that reads what strangers send.
function(folkmoot_harden target)
  if(NOT FOLKMOOT_SANITIZE)
    target_compile_options(${target} PRIVATE
      $<$<COMPILE_LANGUAGE:CXX>:-fstack-protector-strong>
      $<$<AND:$<CONFIG:Release>,$<COMPILE_LANGUAGE:CXX>>:-U_FORTIFY_SOURCE;-D_FORTIFY_SOURCE=2>)
  endif()
endfunction()

# folkmoot_library(<folder> SOURCES a.cc ... DEPS folkmoot_x ...): the library of one folder.
# Subfolders add to it with target_sources(folkmoot_<folder> PRIVATE ...).
function(folkmoot_library folder)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_library(folkmoot_${folder} STATIC ${ARG_SOURCES})
  target_link_libraries(folkmoot_${folder} PUBLIC folkmoot_options ${ARG_DEPS})
endfunction()

# folkmoot_join(<target> <group> a.cc b.cc ...): sources of the target that read the same expensive
# headers (JSON, command line, sockets). With FOLKMOOT_JOIN_SOURCES, as in the preset release, they
# are compiled as one file, in about half the time that each alone takes. Names in the anonymous
# namespaces of a group must differ. The joined file is ours and not that of CMake's UNITY_BUILD,
# which names absolute paths: ccache would take each clone for another program.
function(folkmoot_join target group)
  if(NOT FOLKMOOT_JOIN_SOURCES)
    target_sources(${target} PRIVATE ${ARGN})
    return()
  endif()
  set(content "")
  foreach(source ${ARGN})
    file(REAL_PATH ${source} path)
    file(RELATIVE_PATH path ${CMAKE_SOURCE_DIR} ${path})
    string(APPEND content "#include \"${path}\"\n")
  endforeach()
  set(joined ${CMAKE_BINARY_DIR}/generated/joined/${target}_${group}.cc)
  file(CONFIGURE OUTPUT ${joined} CONTENT "${content}")
  target_sources(${target} PRIVATE ${joined})
  # The compiler takes the parts for headers, whose unnamed namespaces would be suspect.
  set_source_files_properties(${joined} TARGET_DIRECTORY ${target} PROPERTIES COMPILE_OPTIONS
    "$<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>")
endfunction()

# For every target with precompiled headers. ccache follows them only with the first; g++ 12 then
# forgets that <string> is not ours and sees overflows in it that are not there (its bug 105651).
set(FOLKMOOT_PRECOMPILED_OPTIONS
  $<$<COMPILE_LANG_AND_ID:CXX,GNU>:-fpch-preprocess;-Wno-array-bounds;-Wno-stringop-overflow;-Wno-stringop-overread>)

# folkmoot_precompile(<target>): headers of libraries that nearly all of its files read, compiled
# once where sources are joined too: two of the four seconds that a file of layers/models/ takes. A
# source with other sanitizers than the rest needs SKIP_PRECOMPILE_HEADERS.
function(folkmoot_precompile target)
  if(FOLKMOOT_JOIN_SOURCES)
    target_precompile_headers(${target} PRIVATE
      <absl/status/statusor.h> <fmt/format.h> <nlohmann/json.hpp>
      <algorithm> <functional> <map> <memory> <string> <vector>)
    target_compile_options(${target} PRIVATE "${FOLKMOOT_PRECOMPILED_OPTIONS}")
  endif()
endfunction()

# folkmoot_build_quickly(<target>): for code whose compile time matters more than its speed.
function(folkmoot_build_quickly target)
  target_compile_options(${target} PRIVATE $<$<AND:$<CONFIG:Release>,$<COMPILE_LANGUAGE:CXX>>:-O1>)
endfunction()

# folkmoot_not_fuzzed(<target> <regex>): sources of the target where no input of a fuzz target comes.
# With sanitizers, counters and every instruction set clang takes minutes for some of them.
function(folkmoot_not_fuzzed target regex)
  if(NOT FOLKMOOT_FUZZ)
    return()
  endif()
  get_target_property(sources ${target} SOURCES)
  list(FILTER sources INCLUDE REGEX "${regex}")
  set_property(SOURCE ${sources} TARGET_DIRECTORY ${target} APPEND PROPERTY COMPILE_OPTIONS
    -fno-sanitize=fuzzer-no-link,address,undefined -O0 -g0 -DHWY_COMPILE_ONLY_STATIC)
  set_property(SOURCE ${sources} TARGET_DIRECTORY ${target} PROPERTY SKIP_PRECOMPILE_HEADERS ON)
endfunction()
