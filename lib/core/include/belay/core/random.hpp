// SPDX-License-Identifier: Apache-2.0
#pragma once
// Random numbers of the running loop, so that a seed makes a program do the same again.

#include <belay/core/time.hpp>
#include <cstdint>

namespace belay {

/// 64 random bits, for spreading what shall not coincide (delays, the choice of a server). Not for secrets: whoever sees a few knows the
/// next.
/// Result: the same row of numbers for the same `loop_options::random_seed`; on a test loop, always the same.
/// Errors: `misuse_error` outside of a running loop.
[[nodiscard]] std::uint64_t random_bits();

/// From zero to `most`, both included, evenly; zero when `most` is less. Errors: as `random_bits`.
[[nodiscard]] duration random_up_to(duration most);

}  // namespace belay
