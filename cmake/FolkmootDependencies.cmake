# System packages only; nothing is downloaded at configure time.

find_package(Threads REQUIRED)
find_package(MPI REQUIRED COMPONENTS C)
# We use the C interface alone; the old C++ one would want a library of its own.
target_compile_definitions(MPI::MPI_C INTERFACE OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)
find_package(Protobuf REQUIRED)
find_package(absl REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(simdjson REQUIRED)
find_package(CLI11 REQUIRED)
find_package(HWY REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(Boost 1.74 REQUIRED)  # headers: Asio, Beast
if(FOLKMOOT_BUILD_TESTS)
  find_package(Boost 1.74 REQUIRED COMPONENTS context)  # fibers of the GPU simulator
endif()
find_package(prometheus-cpp REQUIRED CONFIG)
find_package(PkgConfig REQUIRED)
pkg_check_modules(PCRE2 REQUIRED IMPORTED_TARGET libpcre2-8)
pkg_check_modules(UTF8PROC REQUIRED IMPORTED_TARGET libutf8proc)
pkg_check_modules(XXHASH REQUIRED IMPORTED_TARGET libxxhash)

# What this build was compiled against, for `folkmoot doctor`.
configure_file(${CMAKE_CURRENT_LIST_DIR}/build_libraries.h.in
               ${CMAKE_BINARY_DIR}/generated/launch/build_libraries.h @ONLY)
