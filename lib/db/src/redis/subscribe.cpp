// SPDX-License-Identifier: Apache-2.0
// A connection that listens: subscribing, reading, asking whether it is still there, and beginning anew.

#include <belay/core/random.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/db/redis/client.hpp>
#include <belay/db/redis/subscribe.hpp>
#include <belay/resilience/detail/random.hpp>
#include <algorithm>
#include <optional>

#include "greeting.hpp"

namespace belay::db::redis {

namespace detail {

namespace {

constexpr duration settled = std::chrono::seconds(1);  // as in line.cpp
constexpr duration least_delay = std::chrono::milliseconds(10);

void observe_all(const failure& what) noexcept {
  what.observe();
  for (const failure& besides : what.attached()) observe_all(besides);
}

subscription checked(subscription what) {
  if (what.channels.empty() && what.patterns.empty())
    throw misuse_error("redis::subscribe: name a channel or a pattern");
  if (what.ping_after <= duration::zero())
    throw misuse_error("redis::subscribe: subscription.ping_after must be more than 0");
  return what;
}

// Not a refusal that will be the same the next time.
bool may_pass(const failure& why) {
  const auto* refused = why.find<server_error>();
  return refused == nullptr || refused->kind() == error_kind::unavailable ||
         refused->kind() == error_kind::overloaded;
}

class listener {
 public:
  listener(options set, subscription what)
      : set_(detail::checked(std::move(set), "redis::subscribe")),
        what_(checked(std::move(what))),
        name_(set_.server()),
        network_(&io::current_network()) {}

  task<notice> next() {
    for (;;) {
      if (!stream_) {
        std::optional<notice> changed = co_await or_fail(begin());
        if (changed) co_return std::move(*changed);
        continue;
      }
      outcome<notice> how = co_await as_outcome(read());
      if (how.succeeded()) co_return std::move(how).value();
      const failure why = how.failure();
      observe_all(why);
      stream_.reset();
      failed_ = now() - connected_at_ >= settled ? 0 : failed_ + 1;
      told_ = true;
      co_return notice{.type = notice_type::lost, .text = why.message()};
    }
  }

 private:
  // One attempt. Nothing: it failed, as was told before.
  task<std::optional<notice>> begin() {
    if (failed_ > 0) {
      belay::detail::random_source random(random_bits());
      last_delay_ = set_.reconnect.draw(failed_, last_delay_, random);
      co_await sleep_for(std::max(last_delay_, least_delay));
    } else {
      last_delay_ = {};
    }
    outcome<void> how =
        co_await as_outcome(with_timeout({set_.connect_limit, "subscribing to Redis"}, connect_and_ask()));
    if (how.succeeded()) {
      told_ = false;
      connected_at_ = now();
      co_return notice{.type = notice_type::subscribed};
    }
    const failure why = how.failure();
    stream_.reset();
    if (!may_pass(why)) co_await fail(why);
    observe_all(why);
    ++failed_;
    if (std::exchange(told_, true)) co_return std::nullopt;
    co_return notice{.type = notice_type::lost, .text = why.message()};
  }

  task<> connect_and_ask() {
    parser_.emplace(set_.largest_reply);
    early_.clear();
    asked_ = false;
    stream_ = co_await greet(*network_, set_, name_, *parser_);
    std::string bytes;
    for (const auto& [verb, names] :
         {std::pair{"SUBSCRIBE", &what_.channels}, std::pair{"PSUBSCRIBE", &what_.patterns}}) {
      if (names->empty()) continue;
      command words{verb};
      words.insert(words.end(), names->begin(), names->end());
      bytes += encode(words);
    }
    co_await stream_->write(bytes);
    // One answer for each of them; a message may come between two.
    for (std::size_t left = what_.channels.size() + what_.patterns.size(); left > 0;) {
      reply got = co_await next_reply();
      if (got.type == reply_type::error) throw server_error(got.text, name_, "SUBSCRIBE");
      if (got.type == reply_type::array && !got.elements.empty() &&
          (got.elements[0].text == "subscribe" || got.elements[0].text == "psubscribe")) {
        --left;
      } else if (auto early = to_message(got)) {
        early_.push_back(std::move(*early));
      }
    }
    std::reverse(early_.begin(), early_.end());
  }

  task<notice> read() {
    if (!early_.empty()) {
      notice first = std::move(early_.back());
      early_.pop_back();
      co_return first;
    }
    for (;;) {
      const duration limit = asked_ ? set_.reply_limit : what_.ping_after;
      std::optional<reply> got = co_await move_on_after({limit, "listening to Redis"}, next_reply());
      if (!got) {
        if (asked_) {
          throw connection_error(error_kind::timed_out, "redis_silent",
                                 "Redis at " + name_ + " has not answered PING within reply_limit");
        }
        asked_ = true;
        co_await with_timeout({set_.reply_limit, "asking Redis"}, stream_->write(encode(command{"PING"})));
        continue;
      }
      asked_ = false;  // whatever came, it is there
      if (got->type == reply_type::error) throw server_error(got->text, name_, "SUBSCRIBE");
      if (auto message = to_message(*got)) co_return std::move(*message);
    }
  }

  static std::optional<notice> to_message(reply& got) {
    auto& parts = got.elements;
    if (got.type != reply_type::array || parts.empty()) return std::nullopt;
    if (parts[0].text == "message" && parts.size() == 3)
      return notice{.channel = std::move(parts[1].text), .text = std::move(parts[2].text)};
    if (parts[0].text == "pmessage" && parts.size() == 4) {
      return notice{.channel = std::move(parts[2].text),
                    .pattern = std::move(parts[1].text),
                    .text = std::move(parts[3].text)};
    }
    return std::nullopt;
  }

  task<reply> next_reply() {
    for (;;) {
      if (auto got = parser_->next()) co_return std::move(*got);
      const std::size_t count = co_await stream_->read_some(part_);
      if (count == 0) {
        throw connection_error(error_kind::unavailable, "redis_lost",
                               "Redis at " + name_ + " closed the connection");
      }
      parser_->feed({part_.data(), count});
    }
  }

  const options set_;
  const subscription what_;
  const std::string name_;
  io::network* network_;
  std::optional<reply_parser> parser_;
  std::optional<io::tcp_stream> stream_;
  std::string part_ = std::string(std::size_t{16} * 1024, '\0');
  std::vector<notice> early_;  // came before all was confirmed; the first one last
  unsigned failed_ = 0;        // attempts in a row
  duration last_delay_{};
  time_point connected_at_{};
  bool asked_ = false;  // PING, without an answer yet
  bool told_ = false;   // that it is lost
};

}  // namespace

}  // namespace detail

stream<notice> subscribe(options at, subscription what) {
  detail::listener from(std::move(at), std::move(what));
  for (;;) {
    notice one = co_await or_fail(from.next());
    co_yield one;
  }
}

}  // namespace belay::db::redis
