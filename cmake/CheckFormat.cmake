# Fails when clang-format would change a file of ours.
#
#   cmake -DROOT=<repository> -DCLANG_FORMAT=<program or empty> -P cmake/CheckFormat.cmake
#
# Prints SKIPPED, which ctest counts as a skip, when clang-format 14 (Debian 12) is not there: other
# versions break lines differently.

cmake_minimum_required(VERSION 3.25)

if(CLANG_FORMAT)
  execute_process(COMMAND ${CLANG_FORMAT} --version OUTPUT_VARIABLE version)
endif()
if(NOT version MATCHES "version 14\\.")
  message("SKIPPED: the format was NOT checked: it needs clang-format 14 (apt-get install clang-format-14)")
  return()
endif()

set(sources "")
foreach(folder runtime parallel scheduler layers launch tests benchmarks)
  file(GLOB_RECURSE found ${ROOT}/${folder}/*.h ${ROOT}/${folder}/*.cc ${ROOT}/${folder}/*.cu
       ${ROOT}/${folder}/*.cuh)
  list(APPEND sources ${found})
endforeach()
list(LENGTH sources count)
if(count EQUAL 0)
  message(FATAL_ERROR "no sources under ${ROOT}: a check that reads nothing proves nothing")
endif()
execute_process(COMMAND ${CLANG_FORMAT} --style=file --dry-run -Werror ${sources}
                WORKING_DIRECTORY ${ROOT} RESULT_VARIABLE status ERROR_VARIABLE errors)
if(NOT status EQUAL 0)
  string(REGEX MATCHALL "[^\n]*error:[^\n]*" lines "${errors}")
  list(JOIN lines "\n  " text)
  message(FATAL_ERROR "run clang-format -i on:\n  ${text}")
endif()
message(STATUS "${count} files are formatted")
