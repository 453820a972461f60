# GPU support: FOLKMOOT_CUDA=AUTO builds it where nvcc is found, ON demands it, OFF leaves it out.
# The CUDA run time is linked statically and starts without a driver, so that one program runs on
# machines with and without a GPU.

set(FOLKMOOT_CUDA "AUTO" CACHE STRING "Build for NVIDIA GPUs: AUTO, ON or OFF")
set_property(CACHE FOLKMOOT_CUDA PROPERTY STRINGS AUTO ON OFF)
# Ampere, Hopper, and PTX of Hopper for what comes later.
set(FOLKMOOT_CUDA_ARCHITECTURES "80-real;90-real;90-virtual" CACHE STRING
    "GPUs to compile for, as CMAKE_CUDA_ARCHITECTURES")

set(FOLKMOOT_CUDA_FOUND OFF)
if(NOT FOLKMOOT_CUDA STREQUAL "OFF")
  include(CheckLanguage)
  if(NOT CMAKE_CUDA_COMPILER AND NOT DEFINED ENV{CUDACXX})
    find_program(FOLKMOOT_NVCC nvcc HINTS ENV CUDA_HOME ENV CUDA_PATH PATHS /usr/local/cuda PATH_SUFFIXES bin)
    if(FOLKMOOT_NVCC)
      set(CMAKE_CUDA_COMPILER ${FOLKMOOT_NVCC})
    endif()
  endif()
  set(CMAKE_CUDA_ARCHITECTURES ${FOLKMOOT_CUDA_ARCHITECTURES})
  check_language(CUDA)
  if(CMAKE_CUDA_COMPILER)
    enable_language(CUDA)
    if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know it
      set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
      set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
    endif()
    find_package(CUDAToolkit REQUIRED)
    if(CUDAToolkit_VERSION VERSION_LESS 12.2)
      if(FOLKMOOT_CUDA STREQUAL "ON")
        message(FATAL_ERROR "CUDA ${CUDAToolkit_VERSION} is too old: 12.2 is the first that is supported")
      endif()
      message(STATUS "CUDA ${CUDAToolkit_VERSION} is too old (12.2 is needed): built without GPU support")
    else()
      set(FOLKMOOT_CUDA_FOUND ON)
    endif()
  elseif(FOLKMOOT_CUDA STREQUAL "ON")
    message(FATAL_ERROR "FOLKMOOT_CUDA=ON, but no working nvcc was found: set CUDACXX or CUDA_HOME")
  endif()
endif()
message(STATUS "GPU support: ${FOLKMOOT_CUDA_FOUND} (FOLKMOOT_CUDA=${FOLKMOOT_CUDA})")

# fmt takes nvcc for a compiler without constexpr.
set(FOLKMOOT_CUDA_FLAGS -DFMT_USE_CONSTEXPR=1 --expt-relaxed-constexpr -lineinfo --threads 1 -Wno-deprecated-gpu-targets
    -Xcompiler=-Wall,-Wextra,-Wno-missing-field-initializers,-ffp-contract=off)

# folkmoot_cuda_library(<name> SOURCES a.cu b.cc ... DEPS ... [ARCHITECTURES ...]): .cu and .cc files
# by nvcc and the host compiler.
function(folkmoot_cuda_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;ARCHITECTURES" ${ARGN})
  if(NOT ARG_ARCHITECTURES)
    set(ARG_ARCHITECTURES ${FOLKMOOT_CUDA_ARCHITECTURES})
  endif()
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name} PUBLIC ${ARG_DEPS} CUDA::cudart_static)
  target_compile_options(${name} PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:${FOLKMOOT_CUDA_FLAGS}>)
  set_target_properties(${name} PROPERTIES CUDA_STANDARD 20
    CUDA_ARCHITECTURES "${ARG_ARCHITECTURES}" CUDA_RUNTIME_LIBRARY Static)
endfunction()

# folkmoot_cuda_sim_library(<name> SOURCES a.cu b.cc ... DEPS ...): the same files by the host
# compiler, over the simulator.
function(folkmoot_cuda_sim_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  folkmoot_cuda_as_cxx(sources ${ARG_SOURCES})
  add_library(${name} STATIC ${sources})
  target_link_libraries(${name} PUBLIC ${ARG_DEPS})
  target_compile_definitions(${name} PUBLIC FOLKMOOT_CUDA_SIM)
endfunction()

# The sources with each x.cu replaced by a C++ file that includes it: CMake gives a file one language
# in a directory, and here it needs two.
function(folkmoot_cuda_as_cxx result)
  set(sources "")
  foreach(source ${ARGN})
    if(source MATCHES "\\.cu$")
      file(REAL_PATH ${source} path)
      file(RELATIVE_PATH path ${CMAKE_SOURCE_DIR} ${path})
      set(wrapper ${CMAKE_BINARY_DIR}/generated/cuda_as_cxx/${path}.cc)
      file(CONFIGURE OUTPUT ${wrapper} CONTENT "#include \"${path}\"\n")
      # #pragma unroll is nvcc's. And the compiler takes the file for a header, whose unnamed
      # namespaces would be suspect.
      set_source_files_properties(${wrapper} PROPERTIES COMPILE_OPTIONS
        "-Wno-unknown-pragmas;$<$<CXX_COMPILER_ID:GNU>:-Wno-subobject-linkage>")
      list(APPEND sources ${wrapper})
    else()
      list(APPEND sources ${source})
    endif()
  endforeach()
  set(${result} ${sources} PARENT_SCOPE)
endfunction()

# folkmoot_cuda_test(<name> SOURCES a.cu b.cc ... [SIM_SOURCES c.cc ...] [DEPS ...]
# [ARCHITECTURES ...]): <name>_sim over the simulator and, with a toolkit, <name>_gpu over CUDA, which is skipped where there is no GPU.
function(folkmoot_cuda_test name)
  cmake_parse_arguments(ARG "" "" "SOURCES;SIM_SOURCES;DEPS;ARCHITECTURES" ${ARGN})
  if(NOT ARG_ARCHITECTURES)
    set(ARG_ARCHITECTURES ${FOLKMOOT_CUDA_ARCHITECTURES})
  endif()
  folkmoot_cuda_as_cxx(sources ${ARG_SOURCES} ${ARG_SIM_SOURCES})
  folkmoot_test(${name}_sim SOURCES ${sources} DEPS folkmoot_cuda_sim ${ARG_DEPS} LABEL unit)
  if(FOLKMOOT_CUDA_FOUND)
    folkmoot_test(${name}_gpu SOURCES ${ARG_SOURCES} DEPS folkmoot_cuda ${ARG_DEPS} LABEL gpu)
    target_compile_options(${name}_gpu PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:${FOLKMOOT_CUDA_FLAGS}>)
    set_target_properties(${name}_gpu PROPERTIES CUDA_STANDARD 20
      CUDA_ARCHITECTURES "${ARG_ARCHITECTURES}")
    set_tests_properties(${name}_gpu PROPERTIES SKIP_REGULAR_EXPRESSION "SKIPPED: no GPU")
  endif()
endfunction()
