# Who may include whom: fails when an #include draws an arrow that the house does not have.
#
#   cmake -DROOT=<repository> -P cmake/CheckLayering.cmake
#
# A linker would not notice a violation that lives in a header; this script reads the includes.

cmake_minimum_required(VERSION 3.25)

if(NOT DEFINED ROOT)
  message(FATAL_ERROR "usage: cmake -DROOT=<repository> -P CheckLayering.cmake")
endif()

# Each folder and the folders that it may include.
set(may_include_runtime "runtime")
set(may_include_parallel "parallel;runtime")
set(may_include_scheduler "scheduler;runtime")
set(may_include_layers "layers;parallel;runtime")
set(may_include_launch "launch;layers;scheduler;parallel;runtime;proto")
set(folders runtime parallel scheduler layers launch)
# Nothing that ships may include these.
set(not_product tests benchmarks tools models docs)

# Headers of others that only some files may see: name, regex of the header, regex of the files.
set(guards mpi nccl cuda protobuf)
set(guard_mpi_header "^mpi(-ext|io)?\\.h$")
set(guard_mpi_files "^parallel/mpi_[^/]*$")
set(guard_nccl_header "^nccl[^/]*\\.h$")
set(guard_nccl_files "^parallel/nccl_[^/]*$")
set(guard_cuda_header "^(runtime/cuda/((platform|launch|ptx|error)\\.h|[^/]*\\.cuh|sim/.*)|cuda[^/]*\\.h|cub(las)?[^/]*\\.h|cub/.*|nvtx3/.*|nvToolsExt[^/]*\\.h|curand[^/]*\\.h)$")
set(guard_cuda_files "^(runtime/cuda/.*|parallel/nccl_[^/]*)$")
set(guard_protobuf_header "(\\.pb\\.h|^google/protobuf/.*)$")
set(guard_protobuf_files "^launch/.*$")

set(violations "")
set(checked 0)
foreach(folder ${folders})
  file(GLOB_RECURSE sources RELATIVE ${ROOT} ${ROOT}/${folder}/*.h ${ROOT}/${folder}/*.cc
       ${ROOT}/${folder}/*.cu ${ROOT}/${folder}/*.cuh ${ROOT}/${folder}/*.inc)
  foreach(source ${sources})
    math(EXPR checked "${checked} + 1")
    file(STRINGS ${ROOT}/${source} lines REGEX "^[ \t]*#[ \t]*include[ \t]*[\"<]")
    foreach(line ${lines})
      string(REGEX REPLACE "^[ \t]*#[ \t]*include[ \t]*[\"<]([^\">]*)[\">].*$" "\\1" header "${line}")
      string(REGEX REPLACE "/.*$" "" first "${header}")
      get_filename_component(directory ${ROOT}/${source} DIRECTORY)
      if(header MATCHES "\\.\\./" OR (NOT header MATCHES "/" AND EXISTS ${directory}/${header}))
        list(APPEND violations "${source}: '${header}': write includes of ours from the root")
      elseif(first IN_LIST not_product)
        list(APPEND violations "${source}: '${header}': ${folder}/ ships, ${first}/ does not")
      elseif((first IN_LIST folders OR first STREQUAL "proto")
             AND NOT first IN_LIST may_include_${folder})
        string(REPLACE ";" ", " allowed "${may_include_${folder}}")
        list(APPEND violations "${source}: '${header}': ${folder}/ may include only ${allowed}")
      endif()
      foreach(guard ${guards})
        if(header MATCHES "${guard_${guard}_header}" AND NOT source MATCHES "${guard_${guard}_files}")
          list(APPEND violations
               "${source}: '${header}': ${guard} headers belong only in ${guard_${guard}_files}")
        endif()
      endforeach()
    endforeach()
  endforeach()
endforeach()

if(checked EQUAL 0)
  message(FATAL_ERROR "no sources under ${ROOT}: a check that reads nothing proves nothing")
endif()
if(violations)
  list(JOIN violations "\n  " text)
  message(FATAL_ERROR "the order of the folders is broken (docs/architecture.md):\n  ${text}")
endif()
message(STATUS "${checked} files keep the order of the folders")
