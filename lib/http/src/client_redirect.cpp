// SPDX-License-Identifier: Apache-2.0
// Redirects.

#include "client_redirect.hpp"

#include <utility>

namespace belay::http::detail {

std::optional<std::string> redirect_target(const response& from) {
  const int code = to_int(from.status);
  if (code != 301 && code != 302 && code != 303 && code != 307 && code != 308) return std::nullopt;
  const auto location = from.headers.find("Location");
  // Two of them could mean anything.
  if (!location || from.headers.count("Location") != 1) return std::nullopt;
  return std::string(*location);
}

void follow_redirect(client_request& what, status by, const std::string& target) {
  url next = what.url.resolve(target);
  if (what.url.scheme == scheme::https && next.scheme == scheme::http)
    throw message_error("redirect_refused", "it leads from https to http, where everybody can read it");
  const int code = to_int(by);
  const bool becomes_get = (code == 303 && what.method != method::head) ||
                           ((code == 301 || code == 302) && what.method == method::post);
  if (becomes_get) {
    what.method = method::get;
    what.body.clear();
    what.upload = {};
    for (const char* of_body : {"Content-Type", "Content-Encoding", "Content-Language", "Content-Location"})
      what.headers.remove(of_body);
  }
  if (what.upload && !what.upload.is_ready()) {
    throw message_error(
        "redirect_refused",
        "it asks for the body again, whose stream was begun already (`upload::again` takes a function "
        "that makes it anew)");
  }
  if (!next.same_origin(what.url)) {
    for (const char* secret : {"Authorization", "Cookie", "Proxy-Authorization"}) what.headers.remove(secret);
  }
  what.url = std::move(next);
}

}  // namespace belay::http::detail
