# SPDX-License-Identifier: Apache-2.0
# Run by ctest: with `includes`, what one layer is compiled with, its own header `own` is found, and none of `later` is.

set(command "${compiler}" -std=c++20 -fsyntax-only -x c++ -)
foreach(folder IN LISTS includes)
  list(APPEND command "-I${folder}")
endforeach()
set(source "${CMAKE_CURRENT_BINARY_DIR}/belay_direction_${layer}.txt")

foreach(header IN LISTS own later)
  file(WRITE "${source}" "#if !__has_include(<${header}>)\n#error out of reach\n#endif\n")
  execute_process(COMMAND ${command} INPUT_FILE "${source}" RESULT_VARIABLE result ERROR_VARIABLE words)
  if(header STREQUAL own AND NOT result EQUAL 0)
    message(FATAL_ERROR "${layer} does not even find its own ${header}:\n${words}")
  elseif(NOT header STREQUAL own AND NOT words MATCHES "error: out of reach")
    message(FATAL_ERROR "${layer} can include <${header}>, of a layer that it must not use:\n${words}")
  endif()
endforeach()
file(REMOVE "${source}")
