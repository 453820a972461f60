# Proves that the checks of the house can fail: each planted file must be named by the check.

cmake_minimum_required(VERSION 3.25)
file(REMOVE_RECURSE ${WORK_DIR})
foreach(folder runtime/cuda parallel scheduler layers launch)
  file(MAKE_DIRECTORY ${WORK_DIR}/${folder})
endforeach()

set(licence "// SPDX-License-Identifier: Apache-2.0\n")

# A small house that keeps every rule, the permitted exceptions included.
file(WRITE ${WORK_DIR}/runtime/tensor.h "${licence}#pragma once\n#include <vector>\n")
file(WRITE ${WORK_DIR}/runtime/cuda/device.cc "${licence}#include <cuda_runtime.h>\n")
file(WRITE ${WORK_DIR}/parallel/mpi_communicator.cc
     "${licence}#include <mpi.h>\n#include \"runtime/tensor.h\"\n")
file(WRITE ${WORK_DIR}/parallel/nccl_communicator.cc
     "${licence}#include <nccl.h>\n#include <cuda_runtime.h>\n")
file(WRITE ${WORK_DIR}/launch/codec.cc
     "${licence}#include \"proto/step.pb.h\"\n#include \"layers/model.h\"\n#include \"scheduler/plan.h\"\n")

function(expect_check script expectation)
  execute_process(COMMAND ${CMAKE_COMMAND} -DROOT=${WORK_DIR} -P ${SOURCE_DIR}/cmake/${script}
                  RESULT_VARIABLE status OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(expectation STREQUAL "passes")
    if(NOT status EQUAL 0)
      message(FATAL_ERROR "${script} refuses a house in order:\n${output}")
    endif()
  elseif(status EQUAL 0)
    message(FATAL_ERROR "${script} did not notice ${expectation}")
  elseif(NOT output MATCHES "${expectation}")
    message(FATAL_ERROR "${script} failed, but did not name ${expectation}:\n${output}")
  endif()
endfunction()

# plant(<check> <file> <line>): with that line in that file the check fails and names the file.
function(plant script file line)
  file(WRITE ${WORK_DIR}/${file} "${licence}#pragma once\n${line}\n")
  expect_check(${script} "${file}")
  file(REMOVE ${WORK_DIR}/${file})
endfunction()

expect_check(CheckLayering.cmake passes)
plant(CheckLayering.cmake runtime/planted.h "#include \"parallel/communicator.h\"")
plant(CheckLayering.cmake runtime/planted.h "#  include <layers/model.h>")
plant(CheckLayering.cmake parallel/planted.cc "#include \"layers/moe_layer.h\"")
plant(CheckLayering.cmake parallel/planted.cc "#include \"scheduler/plan.h\"")
plant(CheckLayering.cmake scheduler/planted.h "#include \"parallel/communicator.h\"")
plant(CheckLayering.cmake scheduler/planted.h "#include \"layers/model.h\"")
plant(CheckLayering.cmake layers/planted.cc "#include \"scheduler/plan.h\"")
plant(CheckLayering.cmake layers/planted.cc "#include \"launch/engine.h\"")
plant(CheckLayering.cmake layers/planted.cc "#include \"proto/step.pb.h\"")
plant(CheckLayering.cmake launch/planted.cc "#include \"tests/support/rank_test.h\"")
plant(CheckLayering.cmake launch/planted.cc "#include <mpi.h>")
plant(CheckLayering.cmake parallel/planted.cc "#include \"mpi.h\"")
plant(CheckLayering.cmake parallel/mpi_planted.cc "#include <nccl.h>")
plant(CheckLayering.cmake layers/planted.cc "#include <cuda_runtime.h>")
plant(CheckLayering.cmake runtime/planted.cc "#include <cublasLt.h>")
plant(CheckLayering.cmake runtime/planted.cc "#include <google/protobuf/message.h>")
plant(CheckLayering.cmake runtime/cuda/planted.cc "#include \"../tensor.h\"")
plant(CheckLayering.cmake runtime/planted.cc "#include \"tensor.h\"")

expect_check(CheckFiles.cmake passes)
plant(CheckFiles.cmake runtime/planted.cc "\tint tab;")
string(REPEAT "int line;\n" 500 long_file)
plant(CheckFiles.cmake runtime/planted.cc "${long_file}")
file(WRITE ${WORK_DIR}/runtime/planted.h "${licence}int no_guard();\n")
expect_check(CheckFiles.cmake "runtime/planted.h: no #pragma once")
file(WRITE ${WORK_DIR}/runtime/planted.h "#pragma once\n")
expect_check(CheckFiles.cmake "runtime/planted.h: the first line")
file(REMOVE ${WORK_DIR}/runtime/planted.h)

# Two types of one name, also where one of them has a base; a file's own types may be named alike.
file(WRITE ${WORK_DIR}/runtime/planted.h "${licence}#pragma once\nclass Twice final : public Base {\n};\n")
file(WRITE ${WORK_DIR}/launch/planted.cc "${licence}\nnamespace {\nstruct Twice {\n};\n}  // namespace\n")
expect_check(CheckFiles.cmake passes)
file(WRITE ${WORK_DIR}/launch/planted.cc "${licence}\nstruct Twice {\n};\n")
expect_check(CheckFiles.cmake "both define Twice")
file(REMOVE ${WORK_DIR}/runtime/planted.h ${WORK_DIR}/launch/planted.cc)

file(WRITE ${WORK_DIR}/README.md "[a file](runtime/tensor.h) [the web](https://example.org)\n")
file(WRITE ${WORK_DIR}/docs/invariants.md "`Suite.Name` and `Other.Case`\n")
file(WRITE ${WORK_DIR}/tests/a_test.cc
     "${licence}\nTEST(Suite, Name) {}\nTEST_P(Other,\n       Case) {}\n")
expect_check(CheckDocuments.cmake passes)
file(WRITE ${WORK_DIR}/docs/invariants.md "`Suite.Name` and `Suite.Nam`\n")
expect_check(CheckDocuments.cmake "no test Suite.Nam\n")
file(WRITE ${WORK_DIR}/docs/invariants.md "`Suite.Name` [x](../README.md) [y](nowhere.md)\n")
expect_check(CheckDocuments.cmake "docs/invariants.md: the link nowhere.md")
file(REMOVE_RECURSE ${WORK_DIR})
