// SPDX-License-Identifier: Apache-2.0
// The inspector page: who may look, and what there is to see.

#include <belay/core/task_tree.hpp>
#include <belay/http/problem.hpp>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <chrono>

#include "app_state.hpp"

namespace belay::service {

namespace {

constexpr std::size_t shortest_token = 16;
constexpr std::size_t most_requests = 200;
constexpr std::size_t longest_path = 200;

bool is_visible(char c) noexcept { return c > ' ' && c < '\x7f'; }

// ---- who may look

// As long for a wrong text as for a right one of the same length.
bool is_equal_in_constant_time(std::string_view given, std::string_view wanted) noexcept {
  volatile unsigned char different = given.size() == wanted.size() ? 0 : 1;
  for (std::size_t i = 0; i != given.size(); ++i) {
    const auto a = static_cast<unsigned char>(given[i]);
    const auto b = static_cast<unsigned char>(wanted[i % wanted.size()]);
    different = static_cast<unsigned char>(different | (a ^ b));
  }
  return different == 0;
}

bool has_token(const http::headers& from, std::string_view token) noexcept {
  if (from.count("Authorization") != 1) return false;
  const std::string_view given = *from.find("Authorization");
  constexpr std::string_view scheme = "Bearer ";
  if (given.size() < scheme.size() || !http::equal_ignoring_case(given.substr(0, scheme.size()), scheme)) {
    return false;
  }
  return is_equal_in_constant_time(http::trim_whitespace(given.substr(scheme.size())), token);
}

// Four numbers, the first of which is 127.
bool is_loopback_v4(std::string_view text) noexcept {
  std::array<unsigned, 4> part{};
  const char* at = text.data();
  const char* const end = at + text.size();
  for (std::size_t i = 0; i != part.size(); ++i) {
    if (i != 0 && (at == end || *at++ != '.')) return false;
    const auto [next, ec] = std::from_chars(at, end, part[i]);
    if (ec != std::errc() || part[i] > 255) return false;
    at = next;
  }
  return at == end && part[0] == 127;
}

bool is_loopback(std::string_view address) noexcept {
  constexpr std::string_view mapped = "::ffff:";
  if (address.size() > mapped.size() && http::equal_ignoring_case(address.substr(0, mapped.size()), mapped)) {
    address.remove_prefix(mapped.size());
  }
  return address == "::1" || is_loopback_v4(address);
}

// The page of another site can have a name that leads to this machine; its requests carry that name.
bool names_this_machine(std::string_view host) noexcept {
  if (host.starts_with("[::1]")) return host.size() == 5 || host[5] == ':';
  host = host.substr(0, host.find(':'));
  return http::equal_ignoring_case(host, "localhost") || is_loopback_v4(host);
}

bool was_passed_on(const http::headers& from) noexcept {
  return std::any_of(from.begin(), from.end(), [](const http::header& one) {
    constexpr std::string_view forwarded = "X-Forwarded-";
    return http::equal_ignoring_case(one.name.substr(0, forwarded.size()), forwarded) ||
           http::equal_ignoring_case(one.name, "Forwarded") || http::equal_ignoring_case(one.name, "Via") ||
           http::equal_ignoring_case(one.name, "X-Real-IP");
  });
}

void require_access(const request& asked, const inspector_options& options) {
  const http::headers& fields = asked.http().headers;
  const auto refuse = [](const char* detail) {
    throw http::problem_error(http::status::forbidden, "inspector_forbidden", detail);
  };
  if (!options.token.empty()) {
    if (!has_token(fields, options.token)) refuse("this page is shown to those who send its token");
    return;
  }
  if (!is_loopback(asked.peer().address) || was_passed_on(fields) || fields.count("Host") != 1 ||
      !names_this_machine(*fields.find("Host"))) {
    refuse(
        "this page is shown on the machine that it is about; elsewhere a token is needed, which is not set");
  }
}

// ---- what there is to see

class page {
 public:
  explicit page(const std::string& title) {
    out_ =
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
        "<meta name=\"viewport\" content=\"width=device-width\"><title>";
    text(title);
    out_ +=
        "</title><style>body{font:14px/1.4 system-ui,sans-serif;margin:1.5em;max-width:110em}"
        "h1{font-size:1.4em}h2{font-size:1.1em;margin:1.5em 0 .3em}table{border-collapse:collapse}"
        "td,th{text-align:left;padding:.15em 1.2em .15em 0;vertical-align:top}th{color:#666;font-weight:normal}"
        "pre{background:#f4f4f4;padding:.8em;overflow:auto}</style></head><body>\n<h1>";
    text(title);
    out_ += "</h1>\n";
  }

  void section(const char* name) {
    out_ += "<h2>";
    out_ += name;
    out_ += "</h2>\n";
  }
  void begin_table(std::initializer_list<const char*> heads) {
    out_ += "<table><tr>";
    for (const char* one : heads) {
      out_ += "<th>";
      out_ += one;
      out_ += "</th>";
    }
    out_ += "</tr>\n";
  }
  void row(std::initializer_list<std::string_view> cells) {
    out_ += "<tr>";
    for (const std::string_view one : cells) {
      out_ += "<td>";
      text(one);
      out_ += "</td>";
    }
    out_ += "</tr>\n";
  }
  void end_table() { out_ += "</table>\n"; }
  void line(std::string_view what) {
    out_ += "<p>";
    text(what);
    out_ += "</p>\n";
  }
  void listing(std::string_view what) {
    out_ += "<pre>";
    text(what);
    out_ += "</pre>\n";
  }
  void link(const char* to, const char* what) {
    out_ += "<p><a href=\"";
    out_ += to;
    out_ += "\">";
    out_ += what;
    out_ += "</a></p>\n";
  }
  [[nodiscard]] std::string take() && {
    out_ += "</body></html>\n";
    return std::move(out_);
  }

 private:
  void text(std::string_view what) {
    for (const char c : what) {
      switch (c) {
        case '&': out_ += "&amp;"; break;
        case '<': out_ += "&lt;"; break;
        case '>': out_ += "&gt;"; break;
        case '"': out_ += "&quot;"; break;
        case '\'': out_ += "&#39;"; break;
        default: out_ += c;
      }
    }
  }
  std::string out_;
};

std::string milliseconds_text(duration length) {
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(length).count()) + " ms";
}

http::response with_guards(http::response made) {
  made.headers.add("Cache-Control", "no-store");
  made.headers.add("X-Content-Type-Options", "nosniff");
  made.headers.add("Referrer-Policy", "no-referrer");
  made.headers.add("Cross-Origin-Resource-Policy", "same-origin");
  made.headers.add("X-Frame-Options", "DENY");
  // Nothing but the page's own style; whatever slips through the escaping does not run.
  made.headers.add("Content-Security-Policy",
                   "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
                   "frame-ancestors 'none'");
  return made;
}

}  // namespace

void app::state::check_inspector() const {
  const inspector_options& asked = options.inspector;
  if (asked.path.empty()) return;
  if (asked.path.size() < 2 || !asked.path.starts_with('/') || !asked.path.ends_with('/')) {
    throw misuse_error("app_options::inspector: the path '" + asked.path +
                       "' must begin and end with a slash, with a name between them");
  }
  if (!asked.token.empty() && (asked.token.size() < shortest_token ||
                               !std::all_of(asked.token.begin(), asked.token.end(), is_visible))) {
    throw misuse_error("app_options::inspector: a token has at least " + std::to_string(shortest_token) +
                       " characters, all visible ASCII");
  }
}

std::string app::state::inspector_page() const {
  page made(options.name);
  const char* status = now == phase::serving ? "serving" : now == phase::starting ? "starting" : "draining";
  const auto http_now = server != nullptr ? server->statistics() : http::server_statistics();
  made.line(std::string(status) + " on " + listening_on.to_string() + ", process " +
            std::to_string(::getpid()) + ", up for " + milliseconds_text(belay::now() - run_at));
  made.link("tasks.json", "tasks.json");

  made.section("Requests");
  made.line(std::to_string(http_now.active_requests) + " under way, " + std::to_string(http_now.requests) +
            " so far; " + std::to_string(http_now.connections) + " connections, " +
            std::to_string(http_now.idle_connections) + " of them idle; " +
            std::to_string(http_now.disconnects) + " clients left early, " +
            std::to_string(http_now.refusals) + " refusals");
  made.begin_table({"method", "path", "peer", "for", "trace"});
  std::size_t shown = 0;
  for (const request_under_way* one = under_way.first(); one != nullptr; one = one->next()) {
    if (++shown > most_requests) continue;
    const http::exchange& of = one->exchange();
    made.row({of.request.method_name, std::string_view(of.request.path).substr(0, longest_path),
              of.peer.to_string(), milliseconds_text(belay::now() - of.arrived),
              http::to_string(one->trace())});
  }
  made.end_table();
  if (shown > most_requests) made.line("and " + std::to_string(shown - most_requests) + " more");

  made.section("In use");
  made.begin_table({"what", "now"});
  for (const auto& [name, read] : gauges) made.row({name, std::to_string(read())});
  made.row({"background", std::to_string(background.size())});
  made.end_table();
  for (const std::string& name : background.unfinished()) made.line("background: " + name);

  made.section("Workers");
  made.begin_table({"name", "restarts"});
  for (const worker& one : workers) {
    made.row({one.name, one.keeper ? std::to_string(one.keeper->statistics().restarts) : "not begun"});
  }
  made.end_table();

  made.section("Lifespan steps that are open");
  made.begin_table({"in the order of opening"});
  for (const std::string& name : report.open) made.row({name});
  made.end_table();

  made.section("Loop");
  if (const loop* running = loop::current(); running != nullptr) {
    const loop_statistics told = running->statistics();
    made.line(std::to_string(told.live_tasks) + " tasks, " + std::to_string(told.timers) + " timers, " +
              std::to_string(told.blocking_jobs) + " calls on threads, " +
              std::to_string(told.abandoned_jobs) + " of them abandoned; " +
              std::to_string(told.lost_failures) + " failures lost so far");
    for (const std::string& call : running->abandoned_calls()) made.line("abandoned: " + call);
  }
  made.begin_table({"noticed", "what"});
  for (const diagnostics_seen::one& one : diagnostics->latest()) {
    made.row({http::to_http_date(one.when), one.text});
  }
  made.end_table();

  made.section("Tasks");
  made.listing(describe(live_tasks()));
  return std::move(made).take();
}

void app::state::add_inspector_routes(app& of) {
  check_inspector();
  if (options.inspector.path.empty()) return;
  of.get(options.inspector.path,
         [this](request& asked) -> task<http::response> {
           require_access(asked, options.inspector);
           http::response made;
           made.headers.add("Content-Type", "text/html; charset=utf-8");
           made.body = inspector_page();
           co_return with_guards(std::move(made));
         },
         {.hidden = true});
  of.get(options.inspector.path + "tasks.json",
         [this](request& asked) -> task<http::response> {
           require_access(asked, options.inspector);
           co_return with_guards(http::response::json(http::status::ok, to_json(live_tasks())));
         },
         {.hidden = true});
}

}  // namespace belay::service
