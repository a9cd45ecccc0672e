# SPDX-License-Identifier: Apache-2.0
# The warnings that Belay's own sources are compiled with; users of the library never see this target.

add_library(belay_warnings INTERFACE)
target_compile_options(belay_warnings INTERFACE
  -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wnon-virtual-dtor
  $<$<BOOL:${BELAY_WARNINGS_AS_ERRORS}>:-Werror>)
