# libbiocube as outsiders get it: one library of the four modules, public headers, pkg-config and CMake package.
set(bc_modules bc_store bc_ingest bc_query bc_formats)
set(bc_objects "")
foreach(m IN LISTS bc_modules)
  list(APPEND bc_objects $<TARGET_OBJECTS:${m}>)
endforeach()
set(bc_foreign PkgConfig::lmdb PkgConfig::libzstd PkgConfig::libxxhash PkgConfig::netcdf PkgConfig::libpng
               PkgConfig::libzip Threads::Threads m)

add_library(biocube SHARED ${bc_objects})
add_library(biocube_static STATIC ${bc_objects})
set_target_properties(biocube PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
set_target_properties(biocube_static PROPERTIES OUTPUT_NAME biocube EXPORT_NAME static)
target_link_libraries(biocube PRIVATE ${bc_foreign})
target_link_libraries(biocube_static INTERFACE ${bc_foreign})
foreach(t IN ITEMS biocube biocube_static)
  set_target_properties(${t} PROPERTIES LINKER_LANGUAGE C)
  target_include_directories(${t} INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
endforeach()

set(bc_public_headers
    store/err.h store/block.h store/datetime.h store/grid.h store/schema.h store/store.h
    query/select.h query/query.h
    formats/json.h formats/sink.h
    ingest/ingest.h)
foreach(h IN LISTS bc_public_headers)
  get_filename_component(folder ${h} DIRECTORY)
  install(FILES ${h} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/biocube/${folder})
endforeach()
configure_file(tools/biocube.h.in ${CMAKE_CURRENT_BINARY_DIR}/biocube.h @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/biocube.h DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/biocube)

# The prefix is only known when installing: cmake --install DIR --prefix PREFIX may change it.
install(CODE "set(bc_libdir \"${CMAKE_INSTALL_LIBDIR}\")
set(bc_includedir \"${CMAKE_INSTALL_INCLUDEDIR}\")
set(bc_description \"${PROJECT_DESCRIPTION}\")
set(bc_version \"${PROJECT_VERSION}\")
set(bc_template \"${CMAKE_CURRENT_SOURCE_DIR}/cmake/biocube.pc.in\")
set(bc_result \"${CMAKE_CURRENT_BINARY_DIR}/biocube.pc\")")
install(SCRIPT ${CMAKE_CURRENT_SOURCE_DIR}/cmake/write_pc.cmake)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/biocube.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)

set(bc_cmake_dir ${CMAKE_INSTALL_LIBDIR}/cmake/biocube)
configure_package_config_file(cmake/biocubeConfig.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/biocubeConfig.cmake
                              INSTALL_DESTINATION ${bc_cmake_dir})
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/biocubeConfigVersion.cmake
                                 COMPATIBILITY SameMajorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/biocubeConfig.cmake ${CMAKE_CURRENT_BINARY_DIR}/biocubeConfigVersion.cmake
        DESTINATION ${bc_cmake_dir})
install(TARGETS biocube EXPORT biocubeTargets)
install(TARGETS biocube_static EXPORT biocubeStaticTargets)
install(EXPORT biocubeTargets NAMESPACE biocube:: DESTINATION ${bc_cmake_dir})
install(EXPORT biocubeStaticTargets NAMESPACE biocube:: DESTINATION ${bc_cmake_dir})
if(TARGET bctool)
  install(TARGETS bctool)
endif()
