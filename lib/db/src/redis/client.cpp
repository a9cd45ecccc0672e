// SPDX-License-Identifier: Apache-2.0
// Commands and scripts of a client.

#include <belay/db/redis/client.hpp>
#include <algorithm>
#include <array>

#include "line.hpp"

namespace belay::db::redis {

namespace {

// Would change the shared connection, or make the others wait.
constexpr std::array<std::string_view, 33> not_shared{
    "AUTH",       "BLMOVE",   "BLMPOP",       "BLPOP",     "BRPOP",        "BRPOPLPUSH", "BZMPOP",
    "BZPOPMAX",   "BZPOPMIN", "DISCARD",      "EXEC",      "HELLO",        "MONITOR",    "MULTI",
    "PSUBSCRIBE", "PSYNC",    "PUNSUBSCRIBE", "QUIT",      "READONLY",     "READWRITE",  "REPLCONF",
    "RESET",      "SELECT",   "SSUBSCRIBE",   "SUBSCRIBE", "SUNSUBSCRIBE", "SYNC",       "UNSUBSCRIBE",
    "UNWATCH",    "WAIT",     "WAITAOF",      "WATCH",     "ASKING"};

std::string in_capitals(std::string word) {
  std::transform(word.begin(), word.end(), word.begin(),
                 [](char c) { return c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c; });
  return word;
}

void check(const command& words) {
  if (words.empty() || words.front().empty()) throw misuse_error("redis::client::send: the command is empty");
  std::string name = in_capitals(words.front());
  const bool blocks = (name == "XREAD" || name == "XREADGROUP") &&
                      std::any_of(words.begin() + 1, words.end(),
                                  [](const std::string& word) { return in_capitals(word) == "BLOCK"; });
  const std::string second = words.size() > 1 ? in_capitals(words[1]) : std::string();
  const bool changes = (name == "CLIENT" && (second == "REPLY" || second == "TRACKING")) ||
                       (name == "SCRIPT" && second == "DEBUG");
  if (changes) name += " " + second;
  if (blocks) name += " with BLOCK";
  if (changes || blocks || std::find(not_shared.begin(), not_shared.end(), name) != not_shared.end()) {
    throw misuse_error("redis::client::send: " + name +
                       " would change the connection that all tasks share, or make them wait");
  }
}

// `name` is that of the command, never an argument: that may be a secret.
task<reply> exchange(std::shared_ptr<detail::line> on, std::string name, std::string bytes,
                     std::function<command(const reply&)> undo, std::size_t replies,
                     bool refusals_are_replies = false) {
  on->require_here();
  detail::answer got = co_await detail::command_wait(*on, std::move(bytes), std::move(undo), replies);
  using detail::ending;
  const std::string server = on->settings().server();
  switch (got.how) {
    case ending::answered:
      if (got.reply.type == reply_type::error && !refusals_are_replies)
        co_await fail(server_error(got.reply.text, server, name));
      co_return std::move(got.reply);
    case ending::garbled:
    case ending::too_large:
      co_await fail(protocol_error(error_kind::data_format,
                                   got.how == ending::garbled ? "redis_protocol" : "redis_reply_too_large",
                                   "Redis at " + server + ": " + got.why + "; the connection was dropped"));
      break;
    case ending::closed:
      co_await fail(closed_error(error_kind::unavailable, "closed",
                                 name + " to Redis at " + server + ": the client was closed"));
      break;
    case ending::away:
    case ending::lost:
    case ending::silent: break;
  }
  const char* code = "redis_away";
  error_kind kind = error_kind::unavailable;
  std::string text = name + " to Redis at " + server;
  if (got.how == ending::away) {
    text += ": no connection: " + got.why;
  } else {
    code = got.how == ending::silent ? "redis_silent" : "redis_lost";
    if (got.how == ending::silent) kind = error_kind::timed_out;
    text += ": " + got.why + "; " + (replies > 1 ? "some of them" : "the command") + " may have been done";
  }
  co_await fail(connection_error(kind, code, std::move(text)));
  __builtin_unreachable();
}

// All of them as bytes. Errors: misuse_error.
std::string encode_all(const std::vector<command>& all) {
  std::string bytes;
  for (const command& one : all) {
    check(one);
    bytes += detail::encode(one);
  }
  return bytes;
}

}  // namespace

task<reply> client::send_or_undo(command words, std::function<command(const reply&)> undo) const {
  check(words);
  const std::shared_ptr<detail::line> on = line_;
  co_return co_await or_fail(
      exchange(on, words.front().substr(0, 32), detail::encode(words), std::move(undo), 1));
}

task<std::vector<reply>> client::pipeline(std::vector<command> all) const {
  if (all.empty()) co_return std::vector<reply>();
  const std::shared_ptr<detail::line> on = line_;
  const std::size_t count = all.size();
  std::string bytes = encode_all(all);
  reply got = co_await or_fail(
      exchange(on, "a pipeline of " + std::to_string(count), std::move(bytes), {}, count, true));
  if (count == 1) {
    std::vector<reply> one;
    one.push_back(std::move(got));
    co_return one;
  }
  co_return std::move(got.elements);
}

task<std::vector<reply>> client::transact(std::vector<command> all) const {
  if (all.empty()) co_return std::vector<reply>();
  const std::shared_ptr<detail::line> on = line_;
  const std::string bytes =
      detail::encode(command{"MULTI"}) + encode_all(all) + detail::encode(command{"EXEC"});
  reply got = co_await or_fail(
      exchange(on, "a transaction of " + std::to_string(all.size()), bytes, {}, all.size() + 2));
  const std::string server = on->settings().server();
  if (const reply& begun = got.elements.front(); begun.type == reply_type::error) {
    const bool some_done = std::any_of(got.elements.begin() + 1, got.elements.end() - 1,
                                       [](const reply& one) { return one.type != reply_type::error; });
    std::string why = begun.text.substr(0, 300);
    if (some_done) why += " (so the commands were run one by one, not as a transaction)";
    co_await fail(server_error(why, server, "MULTI"));
  }
  reply& done = got.elements.back();
  if (done.type == reply_type::error) {
    // One of them was refused when it was queued, and nothing was done: that one says why.
    for (std::size_t i = 0; i < all.size(); ++i) {
      const reply& queued = got.elements[i + 1];
      if (queued.type == reply_type::error)
        co_await fail(server_error(queued.text, server, all[i].front().substr(0, 32)));
    }
    co_await fail(server_error(done.text, server, "EXEC"));
  }
  if (done.type != reply_type::array || done.elements.size() != all.size()) {
    co_await fail(protocol_error(error_kind::data_format, "redis_protocol",
                                 "Redis at " + server + ": EXEC gave " + std::string(to_string(done.type)) +
                                     " instead of " + std::to_string(all.size()) + " replies"));
  }
  co_return std::move(done.elements);
}

task<reply> client::run(script& code, std::vector<std::string> keys, std::vector<std::string> arguments,
                        std::function<command(const reply&)> undo) const {
  if (code.digest_.empty()) {
    const reply digest = co_await or_fail(send({"SCRIPT", "LOAD", code.source_}));
    code.digest_ = digest.to_text();
  }
  command words{"EVALSHA", code.digest_, std::to_string(keys.size())};
  words.insert(words.end(), keys.begin(), keys.end());
  words.insert(words.end(), arguments.begin(), arguments.end());
  outcome<reply> how = co_await as_outcome(send_or_undo(words, undo));
  if (how.failed()) {
    const failure why = how.failure();
    const auto* refused = why.find<server_error>();
    if (refused == nullptr || refused->prefix() != "NOSCRIPT") co_await fail(why);
    // Redis was started anew, or its scripts were flushed. EVAL keeps it again.
    words[0] = "EVAL";
    words[1] = code.source_;
    co_return co_await or_fail(send_or_undo(std::move(words), std::move(undo)));
  }
  co_return std::move(how).value();
}

client_statistics client::statistics() const { return line_->statistics(); }
std::string client::describe() const { return line_->settings().describe(); }

managed<client> connect(options set, std::source_location where) {
  const auto on = std::make_shared<detail::line>(std::move(set));
  client handle(on);
  on->start(where);
  co_yield handle;
  on->begin_closing(where);
  co_await on->ended();
  on->end_closing();
}

}  // namespace belay::db::redis
