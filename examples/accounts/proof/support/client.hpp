// SPDX-License-Identifier: Apache-2.0
#pragma once
// A client that sends the bytes of one request and reads one answer.

#include <belay/core/task.hpp>
#include <belay/io/endpoint.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace proof {

struct answer {
  int status = 0;
  std::string head;
  std::string body;
};

/// The request as text. `fields`: more header fields, each with its line end.
std::string get(std::string_view path, std::string_view fields = "");
std::string post(std::string_view path, std::string_view body, std::string_view fields = "");

/// 30 from one account to another.
std::string transfer(int from, int to, std::string_view fields = "");

/// On a connection of its own. Nothing when nobody listens, or when it ends before the answer is complete. Of server-sent events, one is enough,
/// and who gets none for three seconds leaves, too.
belay::task<std::optional<answer>> ask(belay::io::endpoint at, std::string request);

}  // namespace proof
