# SPDX-License-Identifier: Apache-2.0
# Refuses compilers that silently miscompile coroutines. Installed with the package: find_package(belay) runs it too.
# Why and how: docs/decisions/0002-compiler-trust-check.md

set(belay_trust_folder "${CMAKE_CURRENT_LIST_DIR}/trust")

option(BELAY_TRUST_COMPILER "Skip the compiler trust check, at your own risk" OFF)
mark_as_advanced(BELAY_TRUST_COMPILER)

# belay_require_trusted_compiler()
#
# Compiles the probes in trust/ with the flags of the build and runs them. Ends the configuration with the names of the defects when
# one fails. A pass is remembered in the build folder for as long as compiler, flags and probes stay the same.
function(belay_require_trusted_compiler)
  if(NOT CMAKE_CXX_COMPILER_LOADED)
    message(FATAL_ERROR "belay: enable the language CXX (in project() or by enable_language) before belay.")
  endif()
  if(BELAY_TRUST_COMPILER)
    message(WARNING "belay: the compiler trust check is switched off by BELAY_TRUST_COMPILER. If this compiler miscompiles "
      "coroutines, values and destructors will be wrong without a word.")
    return()
  endif()
  if(CMAKE_CROSSCOMPILING AND NOT CMAKE_CROSSCOMPILING_EMULATOR)
    message(STATUS "belay: compiler trust check skipped: the probes cannot run here (cross-compiling without CMAKE_CROSSCOMPILING_EMULATOR)")
    return()
  endif()

  set(sources "")
  foreach(name IN ITEMS main await_in_condition temporaries_beside_await conditional_beside_await structured_binding
      awaiter_identity destroyed_while_suspended stack_of_await_loop caller_location)
    list(APPEND sources "${belay_trust_folder}/${name}.cpp")
  endforeach()

  # What a changed key means: look again. Probes count by content, so that a newer package looks again too.
  set(CMAKE_TRY_COMPILE_CONFIGURATION "${CMAKE_BUILD_TYPE}")
  string(TOUPPER "${CMAKE_BUILD_TYPE}" build_type)
  set(key "${CMAKE_CXX_COMPILER}|${CMAKE_CXX_COMPILER_ID}|${CMAKE_CXX_COMPILER_VERSION}|${CMAKE_CXX_COMPILER_TARGET}")
  string(APPEND key "|${CMAKE_CXX_FLAGS}|${CMAKE_CXX_FLAGS_${build_type}}|${CMAKE_EXE_LINKER_FLAGS}")
  foreach(file IN LISTS sources ITEMS "${belay_trust_folder}/probe.hpp" "${belay_trust_folder}/braced_lists.cpp")
    file(SHA256 "${file}" hash)
    string(APPEND key "|${hash}")
  endforeach()
  string(SHA256 key "${key}")
  if(BELAY_TRUSTED_COMPILER STREQUAL key)
    return()
  endif()

  set(compiler "${CMAKE_CXX_COMPILER} (${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION})")
  message(STATUS "belay: compiler trust check of ${compiler}")
  set(binary "${CMAKE_CURRENT_BINARY_DIR}/belay_compiler_trust${CMAKE_EXECUTABLE_SUFFIX}")
  try_compile(compiled SOURCES ${sources}
    CXX_STANDARD 20 CXX_STANDARD_REQUIRED ON
    COPY_FILE "${binary}" COPY_FILE_ERROR copy_error
    OUTPUT_VARIABLE words NO_CACHE)
  if(NOT compiled OR copy_error)
    message(FATAL_ERROR "belay: ${compiler} cannot build C++20 coroutines with the flags of this build "
      "(CMAKE_CXX_FLAGS, CMAKE_CXX_FLAGS_${build_type}, CMAKE_EXE_LINKER_FLAGS). It said:\n${copy_error}\n${words}")
  endif()

  set(defects "")
  execute_process(COMMAND ${CMAKE_CROSSCOMPILING_EMULATOR} "${binary}" OUTPUT_VARIABLE probes RESULT_VARIABLE result TIMEOUT 20)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "belay: the compiler trust check built by ${compiler} does not start (${result}).")
  endif()
  while(probes MATCHES "^([a-z_]+)\\|([^\n]*)\n(.*)$")
    set(name "${CMAKE_MATCH_1}")
    set(defect "${CMAKE_MATCH_2}")
    set(probes "${CMAKE_MATCH_3}")
    execute_process(COMMAND ${CMAKE_CROSSCOMPILING_EMULATOR} "${binary}" ${name}
      OUTPUT_VARIABLE found ERROR_QUIET RESULT_VARIABLE result OUTPUT_STRIP_TRAILING_WHITESPACE TIMEOUT 20)
    if(NOT result EQUAL 0)
      if(NOT result EQUAL 1)  # a crash, or a time-out
        set(found "the probe ended with: ${result}")
      endif()
      string(APPEND defects "  - ${name}: ${defect}\n      found: ${found}\n")
    endif()
  endwhile()

  try_compile(compiled SOURCES "${belay_trust_folder}/braced_lists.cpp"
    CXX_STANDARD 20 CXX_STANDARD_REQUIRED ON
    COPY_FILE "${binary}" COPY_FILE_ERROR copy_error NO_CACHE)
  if(compiled)
    execute_process(COMMAND ${CMAKE_CROSSCOMPILING_EMULATOR} "${binary}" OUTPUT_QUIET ERROR_QUIET RESULT_VARIABLE result TIMEOUT 20)
  endif()
  if(NOT compiled)
    string(APPEND defects "  - braced_lists: braced lists next to co_await do not compile\n")
  elseif(NOT result EQUAL 0)
    string(APPEND defects "  - braced_lists: braced lists next to co_await give wrong values (${result})\n")
  endif()
  file(REMOVE "${binary}")

  if(defects)
    # One unindented block: lines that begin with a space are printed as they are.
    message(FATAL_ERROR " belay: ${compiler} miscompiles coroutines:\n${defects}"
      " Code like this compiles without a warning and then does the wrong thing, so this compiler is refused.\n"
      " The way out: install clang 19 (Debian 12: apt-get install clang-19) and configure a fresh build folder with\n"
      "   cmake -DCMAKE_CXX_COMPILER=clang++-19 ...\n"
      " Each defect is shown by a small program in ${belay_trust_folder}\n"
      " To build all the same, at your own risk: -DBELAY_TRUST_COMPILER=ON")
  endif()
  set(BELAY_TRUSTED_COMPILER "${key}" CACHE INTERNAL "The compiler and flags that passed Belay's compiler trust check")
  message(STATUS "belay: compiler trust check passed")
endfunction()
