// SPDX-License-Identifier: Apache-2.0
// The client: a line for each host, connections kept between requests, one exchange at a time on each.

#include <belay/core/detail/place.hpp>
#include <belay/core/failure.hpp>
#include <belay/core/semaphore.hpp>
#include <belay/core/sleep.hpp>
#include <belay/core/timeout.hpp>
#include <belay/http/client.hpp>
#include <belay/http/deadline.hpp>
#include <belay/http/response_parser.hpp>
#include <belay/io/resolve.hpp>
#include <belay/io/tcp.hpp>
#include <belay/io/tls_error.hpp>

#include <algorithm>
#include <limits>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "client_connect.hpp"
#include "client_exchange.hpp"
#include "client_redirect.hpp"

namespace belay::http {
namespace {

using detail::asked;
using detail::connection;
using detail::connection_ptr;
using detail::counted;
using detail::message_of;
using detail::reach;
using detail::sending;
using parsing = response_parser::state;

struct host {
  explicit host(std::size_t limit) : permits(limit, "connections to a host") {}

  semaphore permits;
  std::vector<connection_ptr> idle;  // the one used last is last
  std::size_t users = 0;             // requests under way, or in line
};

struct answered {
  response answer;
  carried_out by_first_try;
  asked first;
};

task<permit> take(semaphore& from) { co_return co_await from.acquire(); }

// A request that was sent, and what has come of its response.
struct begun {
  connection_ptr on;
  response_parser parser;
};

}  // namespace

struct client::state {
  explicit state(client_options from) : options(std::move(from)) {}

  // constant after construction, but for `tls`, which is made when it is first needed
  client_options options;

  // loop thread only
  client_statistics totals;                                         // connections count themselves in it
  std::map<std::string, std::unique_ptr<host>, std::less<>> hosts;  // by where to connect
  bool closed = false;

  // A request at its host, which is forgotten with its last request and connection.
  class visit {
   public:
    visit(state& owner, std::string name)
        : owner_(owner), name_(std::move(name)), active_(owner.totals.active) {
      auto found = owner_.hosts.find(name_);
      if (found == owner_.hosts.end()) {
        auto made =
            std::make_unique<host>(owner_.options.connections_per_host);  // may throw: no name without it
        found = owner_.hosts.emplace(name_, std::move(made)).first;
      }
      at_ = found->second.get();
      ++at_->users;
    }
    visit(const visit&) = delete;
    visit& operator=(const visit&) = delete;
    ~visit() {
      --at_->users;
      owner_.forget_if_unused(owner_.hosts.find(name_));
    }
    [[nodiscard]] host& at() noexcept { return *at_; }

   private:
    state& owner_;
    std::string name_;
    counted active_;
    host* at_ = nullptr;
  };

  void forget_if_unused(decltype(hosts)::iterator which) noexcept {
    if (which->second->users == 0 && which->second->idle.empty()) hosts.erase(which);
  }

  [[nodiscard]] bool is_old(const connection& c) const {
    return now() - c.idle_since >= options.idle_timeout;
  }

  // Connections that waited for too long, to whatever host.
  void drop_old() {
    for (auto next = hosts.begin(); next != hosts.end();) {
      const auto here = next++;
      const auto drop = [this](const connection_ptr& one) { return is_old(*one); };
      totals.idle -= std::erase_if(here->second->idle, drop);
      forget_if_unused(here);
    }
  }

  connection_ptr take_idle(host& from) noexcept {
    connection_ptr taken = std::move(from.idle.back());
    from.idle.pop_back();
    --totals.idle;
    return taken;
  }

  task<connection_ptr> find_clean(host& from) {
    while (!from.idle.empty()) {
      connection_ptr one = take_idle(from);
      if (!co_await detail::has_news(*one)) {
        one->clean = false;
        co_return one;
      }
      ++totals.stale;
    }
    co_return nullptr;
  }

  task<connection_ptr> connect(host& to, const sending& of) {
    // Within the limit, since those who hold a permit are fewer than those who may.
    if (to.idle.size() + (to.permits.permits() - to.permits.free()) > options.connections_per_host) {
      to.idle.erase(to.idle.begin());
      --totals.idle;
    }
    std::optional<io::tcp_stream> stream;
    try {
      stream = co_await move_on_after(
          options.connect_timeout,
          detail::open_connection(
              {of.what.url, of.proxy, options.proxy.authorization_for_https, options.tls, of.where}));
    } catch (const io::tls_error& e) {
      throw of.failed(error_kind::data_format, e.code(), e.what(), carried_out::no);
    } catch (const io::resolve_error& e) {
      throw of.failed(error_kind::unavailable, e.code(), e.what(), carried_out::no);
    } catch (const detail::proxy_refusal& e) {
      throw of.failed(error_kind::unavailable, e.code(), e.what(), carried_out::no);
    } catch (const io::network_error& e) {
      throw of.failed(error_kind::unavailable, "connect_failed", e.what(), carried_out::no);
    }
    if (!stream) {
      throw of.failed(error_kind::timed_out, "connect_timed_out",
                      "not connected within " + belay::detail::length_text(options.connect_timeout) +
                          " (connect_timeout)",
                      carried_out::no);
    }
    ++totals.connects;
    co_return std::make_unique<connection>(std::move(*stream), totals.connections);
  }

  // As `exchange_on`, within the limit. Nothing: there may be another try.
  task<std::optional<begun>> exchange(connection_ptr on, sending& of, bool was_used, reach until) {
    parser_options limits = options.limits;
    if (until == reach::head) limits.body_limit = std::numeric_limits<std::uint64_t>::max();
    begun made{std::move(on), response_parser(of.what.method, limits)};
    if (!co_await or_fail(
            detail::exchange_on(*made.on, of, made.parser, was_used, until, options.response_timeout)))
      co_return std::nullopt;
    co_return std::move(made);
  }

  // Keeps the connection if it is clean.
  void give_back(host& at, begun from) {
    if (!from.parser.keeps_alive() || !from.on->reusable || !from.on->stream.is_open() || closed) return;
    from.on->idle_since = now();
    at.idle.push_back(std::move(from.on));
    at.idle.back()->clean = true;
    ++totals.idle;
  }

  // What a request needs until its response was read, in the order in which it is let go.
  struct request_state {
    std::optional<sending> of{};
    std::optional<visit> here{};
    std::optional<permit> allowed{};
  };

  task<begun> begin(const client_request& what, asked first, std::source_location where, reach until,
                    request_state& in) {
    if (closed) throw misuse_error("http::client::send: the client is closed", where);
    const bool tells_deadline = options.sends_deadline && !what.headers.contains(deadline_header);
    if (what.url.scheme == scheme::https && !options.tls) options.tls = io::tls::context::client();
    const url* proxy = options.proxy.choose(what.url);
    sending& of =
        in.of.emplace(sending{what, first, detail::to_head(what, proxy, options.proxy.authorization),
                              tells_deadline, where, proxy});
    ++totals.requests;
    drop_old();
    host& at = in.here.emplace(*this, detail::connection_key(what.url, proxy)).at();
    in.allowed = co_await move_on_after(options.wait_timeout, take(at.permits));
    if (!in.allowed) {
      throw of.failed(error_kind::overloaded, "no_connection_free",
                      "all " + std::to_string(options.connections_per_host) +
                          " connections to this host are in use, waited " +
                          belay::detail::length_text(options.wait_timeout) + " (wait_timeout)",
                      carried_out::no);
    }
    if (closed)
      throw misuse_error("http::client::send: the client was closed while this waited for a connection",
                         where);
    if (is_idempotent(what.method) && (!what.upload || what.upload.is_repeatable())) {
      if (connection_ptr used = co_await find_clean(at)) {
        ++totals.reused;
        if (std::optional<begun> made = co_await exchange(std::move(used), of, true, until))
          co_return std::move(*made);
        ++totals.resent;
        of.by_first_try = carried_out::possibly;
        of.unwritten = {};
      }
    }
    std::optional<begun> made = co_await exchange(co_await connect(at, of), of, false, until);
    co_return std::move(*made);
  }

  task<answered> send(const client_request& what, asked first, std::source_location where) {
    request_state in;
    begun made = co_await or_fail(begin(what, first, where, reach::end, in));
    answered out{made.parser.take(), in.of->by_first_try, first};
    give_back(in.here->at(), std::move(made));
    co_return out;
  }

  // The same, and what it is redirected to. `what` is the last request then.
  task<answered> follow(client_request& what, std::source_location where) {
    asked first{what.method};
    for (unsigned followed = 0;; ++followed) {
      std::optional<client_request> prepared = prepare(what);
      answered got = co_await or_fail(send(prepared ? *prepared : what, first, where));
      if (!go_on(what, first, got.answer, got.by_first_try, followed, where)) co_return got;
    }
  }

  // What is added is not carried to where a redirect leads. Nothing: nothing is added.
  [[nodiscard]] std::optional<client_request> prepare(const client_request& what) const {
    if (!options.prepare) return std::nullopt;
    std::optional<client_request> prepared = what;
    options.prepare(*prepared);
    return prepared;
  }

  // Whether there is another request to send, which `what` is then.
  bool go_on(client_request& what, asked& first, const response& got, carried_out by_first_try,
             unsigned followed, std::source_location where) const {
    if (options.redirects == 0) return false;
    const std::optional<std::string> target = detail::redirect_target(got);
    if (!target) return false;
    const int code = to_int(got.status);
    const auto refuse = [&](std::string_view error_code, const std::string& why) {
      return request_error(
          error_kind::data_format, std::string(error_code),
          message_of(what, "redirected by " + std::to_string(code) + ": " + why, by_first_try),
          first.judged_as(what.method), carried_out::possibly, where);
    };
    if (followed == options.redirects) {
      throw refuse("too_many_redirects", "for the " + std::to_string(followed + 1) + ". time, and " +
                                             std::to_string(options.redirects) + " are followed (redirects)");
    }
    try {
      detail::follow_redirect(what, got.status, *target);
    } catch (const message_error& e) {
      throw refuse(e.code() == "redirect_refused" ? e.code() : "bad_redirect", e.what());
    }
    if (what.method != first.verb) first.changed = true;
    return true;
  }
};

client_request client_request::json(http::method verb, http::url to, std::string json_text) {
  client_request made{.method = verb, .url = std::move(to), .body = std::move(json_text)};
  made.headers.add("Content-Type", "application/json");
  return made;
}

namespace {

void check_proxies(const proxy_settings& set) {
  const auto check = [](const std::optional<url>& one, const char* name) {
    if (one && one->scheme == scheme::https)
      throw misuse_error(std::string("client_options: proxy.") + name +
                         ": proxies are spoken to by http; its URL must begin with http://");
  };
  check(set.for_http, "for_http");
  check(set.for_https, "for_https");
  const auto check_value = [](const std::string& value, const char* name) {
    try {
      headers().add("Proxy-Authorization", value);
    } catch (const message_error&) {  // it would show the secret
      throw misuse_error(std::string("client_options: proxy.") + name +
                         ": cannot be the value of a header field; is there a line break at its end?");
    }
  };
  check_value(set.authorization, "authorization");
  check_value(set.authorization_for_https, "authorization_for_https");
}

}  // namespace

client::client(client_options options) : state_(std::make_unique<state>(std::move(options))) {
  const client_options& set = state_->options;
  if (set.connections_per_host == 0)
    throw misuse_error("client_options: connections_per_host must be at least 1");
  if (set.limits.head_limit < 64) throw misuse_error("client_options: limits.head_limit must be at least 64");
  const auto check = [](duration value, const char* name) {
    if (value <= duration::zero())
      throw misuse_error(std::string("client_options: ") + name + " must be more than zero");
  };
  check(set.wait_timeout, "wait_timeout");
  check(set.connect_timeout, "connect_timeout");
  check(set.response_timeout, "response_timeout");
  check(set.idle_timeout, "idle_timeout");
  check_proxies(set.proxy);
}
client::~client() = default;

task<response> client::send(client_request what, std::source_location where) {
  co_return (co_await or_fail(state_->follow(what, where))).answer;
}

task<response> client::fetch(client_request what, std::source_location where) {
  auto [answer, by_first_try, first] = co_await or_fail(state_->follow(what, where));
  if (!is_error(answer.status)) co_return std::move(answer);
  const auto clock = state_->options.wall_clock;
  const auto wait = read_retry_after(answer.headers, clock ? clock() : std::chrono::system_clock::now());
  const std::string why =
      std::to_string(to_int(answer.status)) + " " + std::string(reason_phrase(answer.status));
  co_await fail(status_error(std::move(answer), first.judged_as(what.method),
                             message_of(what, why, by_first_try), wait, first.at_least(by_first_try), where));
  __builtin_unreachable();
}

struct incoming::impl {
  client::state& owner;
  const sending& of;
  begun made;
};

http::status incoming::status() const noexcept { return impl_->made.parser.head().status; }
const http::headers& incoming::headers() const noexcept { return impl_->made.parser.head().headers; }

task<std::string> incoming::read() {
  auto& [owner, of, made] = *impl_;
  const time_point limit = saturating_add(now(), owner.options.response_timeout);
  while (true) {
    if (std::string part = made.parser.take_body(); !part.empty()) co_return part;
    if (made.parser.current() == parsing::complete) co_return std::string();
    const auto more = co_await move_on_after(limit - now(), detail::read_more(*made.on, of, made.parser));
    if (!more) throw of.timed_out("no response", owner.options.response_timeout);
  }
}

managed<incoming> client::stream(client_request what, std::source_location where) {
  state& s = *state_;
  asked first{what.method};
  for (unsigned followed = 0;; ++followed) {
    const std::optional<client_request> prepared = s.prepare(what);
    state::request_state in;
    begun made = co_await or_fail(s.begin(prepared ? *prepared : what, first, where, reach::head, in));
    const carried_out before = in.of->by_first_try;
    std::optional<client_request> next;
    if (s.options.redirects != 0) next = what;  // which is still in use
    if (next && s.go_on(*next, first, made.parser.head(), before, followed, where)) {
      s.give_back(in.here->at(), std::move(made));  // if it has no body to wait for
      what = std::move(*next);
      continue;
    }
    incoming::impl parts{s, *in.of, std::move(made)};
    incoming answer(parts);
    co_yield answer;
    s.give_back(in.here->at(), std::move(parts.made));
    co_return;
  }
}

void client::close() noexcept {
  state_->closed = true;
  for (auto next = state_->hosts.begin(); next != state_->hosts.end();) {
    const auto here = next++;
    state_->totals.idle -= here->second->idle.size();
    here->second->idle.clear();
    state_->forget_if_unused(here);
  }
}

client_statistics client::statistics() const noexcept { return state_->totals; }

managed<client> open_client(client_options options) {
  client opened(std::move(options));
  co_yield opened;
  opened.close();
}

}  // namespace belay::http
