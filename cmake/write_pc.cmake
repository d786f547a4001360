# Run by cmake --install: fills in biocube.pc for the prefix of this installation.
set(CMAKE_INSTALL_LIBDIR ${bc_libdir})
set(CMAKE_INSTALL_INCLUDEDIR ${bc_includedir})
set(PROJECT_DESCRIPTION ${bc_description})
set(PROJECT_VERSION ${bc_version})
configure_file(${bc_template} ${bc_result} @ONLY)
