// SPDX-License-Identifier: Apache-2.0
// The client: a line for each host, connections kept between requests, one exchange at a time on each.

#include <belay/core/detail/place.hpp>
#include <belay/core/failure.hpp>
#include <belay/core/group.hpp>
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
#include <array>
#include <limits>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "client_connect.hpp"
#include "client_redirect.hpp"

namespace belay::http {
namespace {

using parsing = response_parser::state;

// Counts itself as long as it lives.
struct counted {
  explicit counted(std::size_t& with) noexcept : counter(with) { ++counter; }
  counted(const counted&) = delete;
  counted& operator=(const counted&) = delete;
  ~counted() { --counter; }
  std::size_t& counter;
};

struct connection {
  connection(io::tcp_stream opened, std::size_t& counter) : open(counter), stream(std::move(opened)) {}
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;
  // Where nothing is under way, the server may be told; otherwise it must not look like an orderly end.
  ~connection() {
    if (clean) stream.close();
  }

  counted open;
  io::tcp_stream stream;
  time_point idle_since{};
  bool clean = false;  // idle
  bool reusable = true;
  std::array<char, 8192> buffer;
};
using connection_ptr = std::unique_ptr<connection>;

struct host {
  explicit host(std::size_t limit) : permits(limit, "connections to a host") {}

  semaphore permits;
  std::vector<connection_ptr> idle;  // the one used last is last
  std::size_t users = 0;             // requests under way, or in line
};

// What a Host field may hold (RFC 3986 section 3.2, without user information).
bool is_authority(char c) noexcept {
  return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         std::string_view("-._~%!$&'()*+,;=:[]").find(c) != std::string_view::npos;
}

// A URL may have been put together by hand.
void check_host(const url& to) {
  if (to.host.empty()) throw message_error("invalid_host", "the host of the URL is empty");
  if (!std::all_of(to.host.begin(), to.host.end(), is_authority))
    throw message_error("invalid_host", "the host of the URL holds a byte that cannot be in one");
  if (to.at.port == 0 && !to.at.is_unix()) throw message_error("invalid_host", "the port of the URL is 0");
}

// Without its end, because the time that is left is told when it is sent.
std::string to_head(const client_request& what, const url* proxy, const std::string& proxy_authorization) {
  if (what.method == method::connect || what.method == method::other)
    throw message_error("invalid_method", "this method cannot be sent");
  check_host(what.url);
  if (const auto wrong = request::check_target(what.url.target))
    throw message_error("invalid_target", *wrong);
  // RFC 9112 section 3.2.2; through a tunnel the proxy sees nothing.
  const bool tells_proxy = proxy != nullptr && what.url.scheme == scheme::http;
  std::string out(to_string(what.method));
  out.append(" ");
  if (tells_proxy) out.append(what.url.origin());
  out.append(what.url.target).append(" HTTP/1.1\r\nHost: ").append(what.url.host).append("\r\n");
  if (tells_proxy && !proxy_authorization.empty())
    out.append("Proxy-Authorization: ").append(proxy_authorization).append("\r\n");
  for (const header& field : what.headers) {
    const auto named = [&field](std::string_view name) { return equal_ignoring_case(field.name, name); };
    if (named("Host") || named("Content-Length") || named("Transfer-Encoding") || named("Connection") ||
        named("Proxy-Authorization"))
      continue;
    out.append(field.name).append(": ").append(field.value).append("\r\n");
  }
  const bool expects_body =
      what.method == method::post || what.method == method::put || what.method == method::patch;
  if (expects_body || !what.body.empty())
    out.append("Content-Length: ").append(std::to_string(what.body.size())).append("\r\n");
  return out;
}

std::string deadline_field(time_point limit) {
  if (limit == time_point::max()) return {};
  // A cancelled task's limit is the earliest point in time: too far away to subtract from.
  const time_point at = std::max(limit, now());
  const auto left = std::chrono::floor<std::chrono::milliseconds>(at - now()).count();
  return std::string(deadline_header) + ": " + std::to_string(std::clamp<std::int64_t>(left, 1, 3'600'000)) +
         "\r\n";
}

// What an error says of a request.
std::string message_of(const client_request& what, std::string_view why, carried_out by_first_try) {
  std::string text(to_string(what.method));
  text.append(" ").append(what.url.describe()).append(": ").append(why);
  if (by_first_try == carried_out::possibly) text += " (second try: the connection in use was lost)";
  return text;
}

// What the caller asked for. Where a redirect has made a GET of it, the first server has acted, and the errors of the GET are judged as its.
struct asked {
  method verb;
  bool changed = false;

  [[nodiscard]] method judged_as(method sent) const noexcept { return changed ? verb : sent; }
  [[nodiscard]] carried_out at_least(carried_out fate) const noexcept {
    return changed ? carried_out::possibly : fate;
  }
};

// One request on its way.
struct sending {
  const client_request& what;
  asked first;
  std::string head;
  bool tells_deadline;
  std::source_location where;
  const url* proxy = nullptr;
  carried_out by_first_try = carried_out::no;  // `possibly` if there was one, and it was lost
  failure unwritten{};                         // what cut off the request, while its answer is looked for

  /// `limit`: that of the task, not the client's own.
  [[nodiscard]] std::string bytes(time_point limit) const {
    return head + (tells_deadline ? deadline_field(limit) : std::string()) + "\r\n" + what.body;
  }

  [[nodiscard]] request_error failed(error_kind kind, std::string_view code, std::string_view why,
                                     carried_out fate) const {
    request_error made(kind, std::string(code), message_of(what, why, by_first_try),
                       first.judged_as(what.method), first.at_least(std::max(fate, by_first_try)), where);
    if (unwritten) belay::detail::error_access::set_cause(made, unwritten);
    return made;
  }

  // On a connection that was made. With TLS 1.3 a server may refuse us after our part of the handshake: that is no outage.
  [[nodiscard]] request_error lost(const io::network_error& why) const {
    const bool refused = dynamic_cast<const io::tls_error*>(&why) != nullptr;
    return failed(refused ? error_kind::data_format : error_kind::unavailable,
                  refused ? std::string_view(why.code()) : "connection_lost", why.what(),
                  carried_out::possibly);
  }
};

struct answered {
  response answer;
  carried_out by_first_try;
  asked first;
};

task<permit> take(semaphore& from) { co_return co_await from.acquire(); }

// Whether the server has closed an idle connection, or sent something on it. What is there already is read; otherwise nothing is.
task<bool> has_news(connection& c) {
  try {
    co_return (co_await move_on_after(duration(1), c.stream.read_some(c.buffer))).has_value();
  } catch (const io::network_error&) {
    co_return true;
  }
}

// Larger ones are sent while the response is read already. For the others it is not worth a task: the system takes them at once.
constexpr std::size_t sent_first = 64 * 1024;

task<> send_all(connection& c, sending& of, std::string_view bytes, bool& sent) {
  try {
    co_await c.stream.write(bytes);
    sent = true;
  } catch (const io::disconnected_error&) {
    // A server that refuses what it is sent may have answered before it closed: see what there is to read.
    of.unwritten = current_failure();
  } catch (const io::network_error& e) {
    throw of.lost(e);
  }
}

// Up to which part of the response.
enum class reach : unsigned char { head, end };

[[nodiscard]] bool is_under_way(const response_parser& parser, reach until) noexcept {
  return parser.current() == parsing::reading_head ||
         (until == reach::end && parser.current() == parsing::reading_body);
}

// False: the connection had ended, before a byte of the response, and there may be another try on a fresh one.
task<bool> read_answer(connection& c, const sending& of, response_parser& parser, bool was_used,
                       reach until) {
  while (is_under_way(parser, until)) {
    try {
      const std::size_t count = co_await c.stream.read_some(c.buffer);
      if (count != 0) {
        parser.feed({c.buffer.data(), count});
      } else {
        parser.end();
      }
    } catch (const io::network_error& e) {
      if (was_used && !parser.started()) co_return false;
      throw of.lost(e);
    }
  }
  if (parser.current() != parsing::failed) co_return true;
  const response_fault& fault = parser.fault();
  if (fault.code != "response_truncated")
    throw of.failed(error_kind::data_format, fault.code, fault.detail, carried_out::possibly);
  if (was_used && !parser.started()) co_return false;
  throw of.failed(error_kind::unavailable, parser.started() ? "response_truncated" : "connection_lost",
                  fault.detail, carried_out::possibly);
}

// A read for a body that is taken part by part.
task<> read_more(connection& c, const sending& of, response_parser& parser) {
  if (parser.current() == parsing::reading_body) {
    try {
      const std::size_t count = co_await c.stream.read_some(c.buffer);
      if (count != 0) {
        parser.feed({c.buffer.data(), count});
      } else {
        parser.end();
      }
    } catch (const io::network_error& e) {
      throw of.lost(e);
    }
  }
  if (parser.current() != parsing::failed) co_return;
  const response_fault& fault = parser.fault();
  const bool cut = fault.code == "response_truncated";
  throw of.failed(cut ? error_kind::unavailable : error_kind::data_format, fault.code, fault.detail,
                  carried_out::possibly);
}

// As `read_answer`.
task<bool> exchange_on(connection& c, sending& of, std::string bytes, response_parser& parser, bool was_used,
                       reach until) {
  bool sent = false;
  bool answered = false;
  if (bytes.size() <= sent_first) {
    co_await or_fail(send_all(c, of, bytes, sent));
    answered = co_await or_fail(read_answer(c, of, parser, was_used, until));
  } else {
    co_await with_group([&](group& tasks) -> task<> {
      auto writer = tasks.spawn(send_all, std::ref(c), std::ref(of), std::string_view(bytes), std::ref(sent));
      answered = co_await or_fail(read_answer(c, of, parser, was_used, until));
      if (!sent) writer.cancel();
    });
  }
  // Part of the request may still be on its way: another must not follow it.
  if (!sent) c.reusable = false;
  co_return answered;
}

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
      if (!co_await has_news(*one)) {
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
    const std::optional<bool> ended = co_await move_on_after(
        options.response_timeout,
        exchange_on(*made.on, of, of.bytes(current_deadline()), made.parser, was_used, until));
    if (!ended) throw timed_out(of);
    if (!*ended) co_return std::nullopt;
    co_return std::move(made);
  }

  [[nodiscard]] request_error timed_out(const sending& of) const {
    return of.failed(
        error_kind::timed_out, "response_timed_out",
        "no response within " + belay::detail::length_text(options.response_timeout) + " (response_timeout)",
        carried_out::possibly);
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
    sending& of = in.of.emplace(sending{what, first, to_head(what, proxy, options.proxy.authorization),
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
    if (is_idempotent(what.method)) {
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
  if (!is_error(answer.status)) co_return answer;
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
    const auto more = co_await move_on_after(limit - now(), read_more(*made.on, of, made.parser));
    if (!more) throw owner.timed_out(of);
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
    client_request next = what;
    if (s.go_on(next, first, made.parser.head(), before, followed, where)) {
      s.give_back(in.here->at(), std::move(made));  // if it has no body to wait for
      what = std::move(next);
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
