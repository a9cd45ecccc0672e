# SPDX-License-Identifier: Apache-2.0
# How tests are added: one binary per layer, one ctest test per doctest case, labelled with the layer's name.

find_package(doctest 2.4 REQUIRED)

add_library(belay_doctest_main OBJECT "${CMAKE_CURRENT_LIST_DIR}/doctest_main.cpp")
target_compile_features(belay_doctest_main PUBLIC cxx_std_20)
target_link_libraries(belay_doctest_main PUBLIC doctest::doctest)

set(belay_discover_tests_script "${CMAKE_CURRENT_LIST_DIR}/belay_discover_tests.cmake")
set(belay_must_not_compile_script "${CMAKE_CURRENT_LIST_DIR}/belay_must_not_compile.cmake")

# belay_add_tests(<layer> <file>... [LABELS <label>...] [LINK <target>...] [TIMEOUT <seconds>])
#
# Builds belay_<layer>_tests (belay_<layer>_<label>_tests when that name is taken) from the files, linked with the layer and with
# belay::testing. Each case becomes the ctest test "<layer>/<case>", with the labels <layer> and LABELS. A case may take
# 60 s (300 s when labelled slow) unless TIMEOUT says otherwise.
function(belay_add_tests layer)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "TIMEOUT" "LABELS;LINK")
  set(target belay_${layer}_tests)
  if(TARGET ${target} AND arg_LABELS)
    list(GET arg_LABELS 0 first_label)
    set(target belay_${layer}_${first_label}_tests)
  endif()
  if(NOT arg_TIMEOUT)
    set(arg_TIMEOUT 60)
    if("slow" IN_LIST arg_LABELS)
      set(arg_TIMEOUT 300)
    endif()
  endif()

  add_executable(${target} ${arg_UNPARSED_ARGUMENTS})
  target_link_libraries(${target} PRIVATE
    belay_doctest_main
    belay_warnings
    $<TARGET_NAME_IF_EXISTS:belay::${layer}>
    $<TARGET_NAME_IF_EXISTS:belay::testing>
    ${arg_LINK})
  # Most of the time of a build goes into the tests, and half of that into optimising what runs for milliseconds. Those with
  # load keep the preset's flags.
  if(NOT "slow" IN_LIST arg_LABELS)
    target_compile_options(${target} PRIVATE $<$<CONFIG:Debug>:-O0>)
  endif()

  # All test binaries of a layer, whatever their labels: what `./test <layer>` builds.
  if(NOT TARGET belay_${layer}_all_tests)
    add_custom_target(belay_${layer}_all_tests)
  endif()
  add_dependencies(belay_${layer}_all_tests ${target})

  set(list_file "${CMAKE_CURRENT_BINARY_DIR}/${target}.cmake")
  add_custom_command(TARGET ${target} POST_BUILD
    COMMAND "${CMAKE_COMMAND}"
      "-Dbinary=$<TARGET_FILE:${target}>" "-Dlist_file=${list_file}" "-Dlayer=${layer}"
      "-Dlabels=${layer};${arg_LABELS}" "-Dtimeout=${arg_TIMEOUT}" -P "${belay_discover_tests_script}"
    BYPRODUCTS "${list_file}"
    COMMENT "Listing the cases of ${target}"
    VERBATIM)
  set(include_file "${CMAKE_CURRENT_BINARY_DIR}/${target}_include.cmake")
  file(CONFIGURE OUTPUT "${include_file}" CONTENT [[
if(EXISTS "@list_file@")
  include("@list_file@")
else()
  add_test("@layer@/(not built)" "@target@_is_not_built")
  set_tests_properties("@layer@/(not built)" PROPERTIES LABELS "@layer@")
endif()
]] @ONLY)
  set_property(DIRECTORY APPEND PROPERTY TEST_INCLUDE_FILES "${include_file}")
endfunction()

# belay_add_must_not_compile_test(<layer> <file> MESSAGE <regex> [LINK <target>...])
#
# A test that <file>, seeing exactly what users of the layer see, does not compile and that the compiler's words match
# <regex>. With BELAY_CONTROL defined the same file must compile, so that it cannot fail for another reason.
function(belay_add_must_not_compile_test layer file)
  cmake_parse_arguments(PARSE_ARGV 2 arg "" "MESSAGE" "LINK")
  get_filename_component(name "${file}" NAME_WE)
  get_filename_component(file "${file}" ABSOLUTE)
  set(probe belay_${layer}_${name}_must_not_compile)
  # Never built: it only gathers what a user of the layer compiles with.
  add_library(${probe} OBJECT EXCLUDE_FROM_ALL "${file}")
  target_link_libraries(${probe} PRIVATE $<TARGET_NAME_IF_EXISTS:belay::${layer}> ${arg_LINK})
  add_test(NAME "${layer}/must not compile: ${name}"
    COMMAND "${CMAKE_COMMAND}" "-Dcompiler=${CMAKE_CXX_COMPILER}" "-Dfile=${file}" "-Dmessage=${arg_MESSAGE}"
      "-Dincludes=$<TARGET_PROPERTY:${probe},INCLUDE_DIRECTORIES>"
      "-Ddefinitions=$<TARGET_PROPERTY:${probe},COMPILE_DEFINITIONS>"
      -P "${belay_must_not_compile_script}"
    VERBATIM)
  set_tests_properties("${layer}/must not compile: ${name}" PROPERTIES LABELS "${layer}" TIMEOUT 60)
endfunction()

set(belay_check_direction_script "${CMAKE_CURRENT_LIST_DIR}/belay_check_direction.cmake")

# belay_add_direction_tests(<layer>...)
#
# For each of the layers, given in order, a test that an include of a layer after it does not compile.
function(belay_add_direction_tests)
  foreach(layer IN LISTS ARGN)
    get_target_property(headers belay_${layer} HEADER_SET)
    list(GET headers 0 header)
    string(REGEX REPLACE "^.*include/(belay/${layer}/)" "\\1" header_of_${layer} "${header}")
  endforeach()
  set(later ${ARGN})
  foreach(layer IN LISTS ARGN)
    list(POP_FRONT later)
    set(later_headers "")
    foreach(other IN LISTS later)
      list(APPEND later_headers "${header_of_${other}}")
    endforeach()
    if(later_headers)
      add_test(NAME "${layer}/cannot include a later layer"
        COMMAND "${CMAKE_COMMAND}" "-Dcompiler=${CMAKE_CXX_COMPILER}" "-Dlayer=${layer}" "-Down=${header_of_${layer}}"
          "-Dlater=${later_headers}" "-Dincludes=$<TARGET_PROPERTY:belay_${layer},INCLUDE_DIRECTORIES>"
          -P "${belay_check_direction_script}")
      set_tests_properties("${layer}/cannot include a later layer" PROPERTIES LABELS "${layer}" TIMEOUT 60)
    endif()
  endforeach()
endfunction()
