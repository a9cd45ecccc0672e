# SPDX-License-Identifier: Apache-2.0
# Writes and installs the CMake package, so that find_package(belay COMPONENTS ...) works from an installed tree.
#
# What a component needs is read from what its target links, so that the package cannot fall behind the layers.

include(CMakePackageConfigHelpers)

set(belay_component_table "")
foreach(layer IN LISTS belay_layers)
  set(needed_layers "")
  set(needed_packages "")
  set(boost_parts "")
  get_target_property(links belay_${layer} LINK_LIBRARIES)
  foreach(link IN LISTS links)
    if(link MATCHES "^belay::(.+)$")
      list(APPEND needed_layers ${CMAKE_MATCH_1})
    elseif(link MATCHES "^Boost::(.+)$")
      list(APPEND boost_parts ${CMAKE_MATCH_1})
    elseif(link MATCHES "^Threads::")
      list(APPEND needed_packages "Threads")
    elseif(link MATCHES "^fmt::")
      list(APPEND needed_packages "fmt 9")
    elseif(link MATCHES "^spdlog::")
      list(APPEND needed_packages "spdlog 1.10")
    elseif(link MATCHES "^SQLite::")
      list(APPEND needed_packages "SQLite3 3.40")
    elseif(link MATCHES "^hiredis::")
      list(APPEND needed_packages "hiredis 0.14")
    elseif(link MATCHES "^PostgreSQL::")
      list(APPEND needed_packages "PostgreSQL 15")
    elseif(link MATCHES "^tomlplusplus::")
      list(APPEND needed_packages "tomlplusplus 3.3")
    elseif(link MATCHES "^OpenSSL::")
      list(APPEND needed_packages "OpenSSL 3.0")
    elseif(link MATCHES "^([A-Za-z0-9_]+)::")
      message(FATAL_ERROR "cmake/belay_install.cmake does not know which package has ${link}, which belay_${layer} links")
    endif()
  endforeach()
  if(boost_parts)
    list(REMOVE_ITEM boost_parts headers)
    list(JOIN boost_parts " " boost_parts)
    string(STRIP "Boost 1.81 ${boost_parts}" boost)
    list(APPEND needed_packages "${boost}")
  endif()
  list(REMOVE_DUPLICATES needed_layers)
  list(REMOVE_DUPLICATES needed_packages)
  string(APPEND belay_component_table
    "set(belay_${layer}_layers \"${needed_layers}\")\n"
    "set(belay_${layer}_packages \"${needed_packages}\")\n")
endforeach()

set(package_folder "${CMAKE_INSTALL_LIBDIR}/cmake/belay")
configure_package_config_file(
  "${CMAKE_CURRENT_LIST_DIR}/belayConfig.cmake.in" "${CMAKE_CURRENT_BINARY_DIR}/belayConfig.cmake"
  INSTALL_DESTINATION "${package_folder}"
  NO_SET_AND_CHECK_MACRO)
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/belayConfigVersion.cmake"
  VERSION ${PROJECT_VERSION}
  COMPATIBILITY SameMinorVersion)

install(EXPORT belay-targets NAMESPACE belay:: DESTINATION "${package_folder}")
install(FILES
  "${CMAKE_CURRENT_BINARY_DIR}/belayConfig.cmake"
  "${CMAKE_CURRENT_BINARY_DIR}/belayConfigVersion.cmake"
  "${CMAKE_CURRENT_LIST_DIR}/belay_compiler_trust.cmake"
  "${CMAKE_CURRENT_LIST_DIR}/Findhiredis.cmake"
  DESTINATION "${package_folder}")
install(DIRECTORY "${CMAKE_CURRENT_LIST_DIR}/trust" DESTINATION "${package_folder}")
