# SPDX-License-Identifier: Apache-2.0
# Run after a test binary is linked: asks it for its cases and writes them as ctest tests to list_file.

execute_process(COMMAND "${binary}" --list-test-cases --no-colors=true
  OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE result TIMEOUT 30)
if(NOT result EQUAL 0)
  message(FATAL_ERROR "${binary} cannot list its cases (${result}):\n${output}")
endif()

# The lines are kept out of CMake lists: a case may have ';' and brackets in its name.
set(script "")
set(seen "")
while(output MATCHES "^([^\n]*)\n(.*)$")
  set(case "${CMAKE_MATCH_1}")
  set(output "${CMAKE_MATCH_2}")
  if(case STREQUAL "" OR case MATCHES "^(=====|\\[doctest\\])")
    continue()
  endif()
  set(filter "${case}")
  string(REPLACE "\\" "\\\\" filter "${filter}")
  string(REPLACE "," "\\," filter "${filter}")  # a bare comma would separate two filters
  string(APPEND script
    "add_test([==[${layer}/${case}]==] [==[${binary}]==] [==[--test-case=${filter}]==] --no-colors=true)\n"
    # doctest calls a run of no case a success.
    "set_tests_properties([==[${layer}/${case}]==] PROPERTIES LABELS [==[${labels}]==] TIMEOUT ${timeout}"
    " FAIL_REGULAR_EXPRESSION [==[test cases: +0 ]==])\n")
endwhile()
file(WRITE "${list_file}" "${script}")
