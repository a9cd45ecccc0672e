# SPDX-License-Identifier: Apache-2.0
# Run by ctest: `file` must be refused with `message`, and must compile when BELAY_CONTROL is defined.

set(command "${compiler}" -std=c++20 -fsyntax-only)
foreach(folder IN LISTS includes)
  list(APPEND command "-I${folder}")
endforeach()
foreach(definition IN LISTS definitions)
  list(APPEND command "-D${definition}")
endforeach()

execute_process(COMMAND ${command} -DBELAY_CONTROL "${file}" RESULT_VARIABLE result ERROR_VARIABLE words)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "with BELAY_CONTROL defined it must compile, but does not:\n${words}")
endif()
execute_process(COMMAND ${command} "${file}" RESULT_VARIABLE result ERROR_VARIABLE words)
if(result EQUAL 0)
  message(FATAL_ERROR "it compiles, but must not: ${file}")
endif()
if(NOT words MATCHES "${message}")
  message(FATAL_ERROR "refused, but not with '${message}':\n${words}")
endif()
