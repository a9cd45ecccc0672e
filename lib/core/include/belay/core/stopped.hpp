// SPDX-License-Identifier: Apache-2.0
#pragma once
// How a function on a thread says that it has stopped.

namespace belay {

/// Thrown by a function under `to_thread` to say: the stop token asked me to stop, I did, nothing was done. The awaiting
/// task is then cancelled, without an error.
struct stopped {};

}  // namespace belay
