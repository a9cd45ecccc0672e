// SPDX-License-Identifier: Apache-2.0
#pragma once
// A page that shows what a running program is doing: its tasks, requests, workers, steps and gauges.

#include <string>

namespace belay::service {

/// For `app_options::inspector`. The page is one HTML document without scripts, links to elsewhere or anything to be loaded; the live
/// tasks are also there as JSON, at `tasks.json` behind the same path, in the form of `to_json(live_tasks())`.
///
/// Who may look, as everything else is 403 `inspector_forbidden`:
///   without a token   peers on this machine that speak to it by a name of this machine (127.0.0.0/8, [::1], localhost), with no
///                     sign that they pass on a request of somebody else (Forwarded, X-Forwarded-*, X-Real-IP, Via). These fields are
///                     not believed: whoever sends one is taken for a proxy. A proxy on this machine that sends none of them and calls
///                     the program by such a name lets its clients look: keep the path from it, or set a token.
///   with a token      whoever sends it, from anywhere: `Authorization: Bearer TOKEN`. Compared in constant time.
struct inspector_options {
  /// Where it is: "/_belay/". It begins and ends with a slash. Empty: nowhere.
  std::string path{};
  /// At least 16 visible ASCII characters, or empty.
  std::string token{};
};

}  // namespace belay::service
