// SPDX-License-Identifier: Apache-2.0
// with_details gives the error back by value: not to use it is a mistake.

#include <belay/errors/error_type.hpp>

#pragma clang diagnostic error "-Wunused-result"

void throws() {
  belay::error e("text");
#ifdef BELAY_CONTROL
  throw belay::with_details(e, {{"user", 7}});
#else
  belay::with_details(e, {{"user", 7}});
#endif
}
