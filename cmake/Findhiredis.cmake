# SPDX-License-Identifier: Apache-2.0
# Finds hiredis, which brings no CMake package on Debian 12: hiredis::hiredis, and hiredis_VERSION from its header.

find_path(hiredis_INCLUDE_DIR hiredis/hiredis.h)
find_library(hiredis_LIBRARY hiredis)
mark_as_advanced(hiredis_INCLUDE_DIR hiredis_LIBRARY)

if(hiredis_INCLUDE_DIR)
  set(hiredis_VERSION "")
  foreach(part IN ITEMS MAJOR MINOR PATCH)
    file(STRINGS "${hiredis_INCLUDE_DIR}/hiredis/hiredis.h" line REGEX "^#define HIREDIS_${part} [0-9]+")
    string(REGEX REPLACE "[^0-9]" "" line "${line}")
    list(APPEND hiredis_VERSION "${line}")
  endforeach()
  list(JOIN hiredis_VERSION "." hiredis_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(hiredis REQUIRED_VARS hiredis_LIBRARY hiredis_INCLUDE_DIR VERSION_VAR hiredis_VERSION)

if(hiredis_FOUND AND NOT TARGET hiredis::hiredis)
  add_library(hiredis::hiredis UNKNOWN IMPORTED)
  set_target_properties(hiredis::hiredis PROPERTIES
    IMPORTED_LOCATION "${hiredis_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${hiredis_INCLUDE_DIR}")
endif()
