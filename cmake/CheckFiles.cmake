# Small rules that every source file of ours keeps: licence line, include guard, length.
#
#   cmake -DROOT=<repository> -P cmake/CheckFiles.cmake

cmake_minimum_required(VERSION 3.25)

set(max_lines 450)
set(violations "")
set(checked 0)
foreach(folder runtime parallel scheduler layers launch tests benchmarks)
  file(GLOB_RECURSE sources RELATIVE ${ROOT} ${ROOT}/${folder}/*.h ${ROOT}/${folder}/*.cc
       ${ROOT}/${folder}/*.cu)
  foreach(source ${sources})
    math(EXPR checked "${checked} + 1")
    file(READ ${ROOT}/${source} text)
    if(NOT text MATCHES "^// SPDX-License-Identifier: Apache-2\\.0\n")
      list(APPEND violations "${source}: the first line is not // SPDX-License-Identifier: Apache-2.0")
    endif()
    # Headers of Highway's foreach_target are included once per instruction set.
    if(source MATCHES "\\.h$" AND NOT source MATCHES "-inl\\.h$" AND NOT text MATCHES "\n#pragma once\n")
      list(APPEND violations "${source}: no #pragma once")
    endif()
    if(text MATCHES "\t")
      list(APPEND violations "${source}: a tab")
    endif()
    string(REGEX REPLACE "[^\n]" "" newlines "${text}")
    string(LENGTH "${newlines}" lines)
    if(lines GREATER max_lines)
      list(APPEND violations "${source}: ${lines} lines; split it at ${max_lines}")
    endif()
  endforeach()
endforeach()

if(checked EQUAL 0)
  message(FATAL_ERROR "no sources under ${ROOT}: a check that reads nothing proves nothing")
endif()
if(violations)
  list(JOIN violations "\n  " text)
  message(FATAL_ERROR "house rules (CONTRIBUTING.md):\n  ${text}")
endif()
message(STATUS "${checked} files keep the house rules")
