# SPDX-License-Identifier: Apache-2.0
# Runs an example and compares what it prints (stdout, then stderr) with the file beside it, and its exit status.
#   cmake -Dbinary=... -Dexpected=FILE -Dstatus=N -P check_output.cmake
# Line numbers in files of the library may differ. With BELAY_WRITE_OUTPUTS=1 in the environment the file is written instead.

execute_process(COMMAND "${binary}" OUTPUT_VARIABLE out ERROR_VARIABLE err RESULT_VARIABLE ended TIMEOUT 20)
if(NOT ended STREQUAL status)
  message(FATAL_ERROR "exit status ${ended} instead of ${status}; it printed:\n${out}${err}")
endif()
set(printed "${out}${err}")
if("$ENV{BELAY_WRITE_OUTPUTS}")
  file(WRITE "${expected}" "${printed}")
endif()
file(READ "${expected}" wanted)

get_filename_component(own "${expected}" NAME_WE)
foreach(text IN ITEMS printed wanted)
  string(REPLACE "${own}.cpp:" "${own}.cpp/" masked_${text} "${${text}}")
  string(REGEX REPLACE "([a-z_]+\\.[ch]pp):[0-9]+" "\\1:N" masked_${text} "${masked_${text}}")
endforeach()
if(NOT masked_printed STREQUAL masked_wanted)
  message(FATAL_ERROR "It printed:\n${printed}\ninstead of what is in ${expected}:\n${wanted}")
endif()
