# What `cmake --install` and `cpack -G TGZ` put into a package. It may lie anywhere: programs find
# their libraries relative to themselves.

option(FOLKMOOT_BUNDLE "Packages carry the shared libraries and Open MPI's run time" ON)

set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)  # tests do not have to be built for a package
set(docdir share/doc/folkmoot)

install(TARGETS folkmoot RUNTIME DESTINATION bin COMPONENT program)
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${docdir} COMPONENT program)
install(DIRECTORY docs/ DESTINATION ${docdir}/docs COMPONENT program)
install(DIRECTORY launch/systemd launch/slurm launch/grafana DESTINATION share/folkmoot COMPONENT program)

if(FOLKMOOT_BUNDLE)
  install(CODE "
    message(STATUS \"Bundling libraries and Open MPI\")
    execute_process(COMMAND \"${CMAKE_SOURCE_DIR}/scripts/bundle.sh\" \"\$ENV{DESTDIR}\${CMAKE_INSTALL_PREFIX}\"
                    COMMAND_ERROR_IS_FATAL ANY)" COMPONENT bundle)
endif()

set(CPACK_GENERATOR TGZ)
set(CPACK_PACKAGE_NAME folkmoot)
set(CPACK_PACKAGE_VENDOR "The Folkmoot authors")
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "Serves mixture-of-experts language models")
set(CPACK_RESOURCE_FILE_LICENSE ${CMAKE_SOURCE_DIR}/LICENSE)
set(CPACK_STRIP_FILES ON)
string(TOLOWER "${CMAKE_SYSTEM_NAME}-${CMAKE_SYSTEM_PROCESSOR}" system)
if(FOLKMOOT_CUDA_FOUND)
  string(APPEND system "-cuda${CUDAToolkit_VERSION_MAJOR}")
endif()
set(CPACK_PACKAGE_FILE_NAME "folkmoot-${PROJECT_VERSION}-${system}")
include(CPack)
