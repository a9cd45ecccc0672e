// SPDX-License-Identifier: Apache-2.0
// Problem details: JSON, response, what an unknown error is called, and the mapping between statuses and error kinds.

#include <belay/http/json_text.hpp>
#include <belay/http/problem.hpp>

#include <algorithm>
#include <array>

namespace belay::http {
namespace {

// "email_taken" -> "Email taken": constant per code, as a title has to be (RFC 9457 section 3.1.3).
std::string to_title(std::string_view code) {
  std::string out(code);
  std::replace(out.begin(), out.end(), '_', ' ');
  if (!out.empty() && out.front() >= 'a' && out.front() <= 'z')
    out.front() = static_cast<char>(out.front() - ('a' - 'A'));
  return out;
}

void append_member(std::string& out, std::string_view name, std::string_view text) {
  if (text.empty()) return;
  out += ",\"";
  out += name;
  out += "\":";
  append_json_string(out, text);
}

std::string message_of(const problem& what) {
  const std::string name = what.code.empty() ? std::string(reason_phrase(what.status)) : what.code;
  return what.detail.empty() ? name : name + ": " + what.detail;
}

void add_extension(problem& to, std::string_view name, std::string json) {
  constexpr std::array<std::string_view, 8> taken = {"type",     "title", "status",   "detail",
                                                     "instance", "code",  "trace_id", "errors"};
  const auto same = [&](const problem::extension& other) { return other.name == name; };
  if (std::find(taken.begin(), taken.end(), name) != taken.end() ||
      std::any_of(to.extensions.begin(), to.extensions.end(), same)) {
    throw misuse_error("problem::extend: there is a member \"" + std::string(name) + "\" already");
  }
  to.extensions.push_back({std::string(name), std::move(json)});
}

// What may be told to a client about an error of which only the kind is known.
struct public_text {
  const char* code;
  const char* detail;
};

public_text text_for(error_kind kind) noexcept {
  switch (kind) {
    case error_kind::invalid: return {"invalid", "the request is not valid"};
    case error_kind::not_found: return {"not_found", "it does not exist"};
    case error_kind::conflict: return {"conflict", "it conflicts with the present state"};
    case error_kind::denied: return {"denied", "not allowed"};
    case error_kind::unauthenticated: return {"unauthenticated", "authentication is needed"};
    case error_kind::unavailable:
      return {"unavailable", "a part of the service is not available just now; try again later"};
    case error_kind::overloaded: return {"overloaded", "too much to do just now; try again later"};
    case error_kind::timed_out: return {"timed_out", "it took too long"};
    case error_kind::child_cancelled:
    case error_kind::data_format:
    case error_kind::internal: break;
  }
  return {"internal", "internal error"};
}

}  // namespace

problem to_problem(const failure& what) {
  if (const auto* ready = belay::detail::exception_as<problem_error>(what.exception()))
    return ready->problem();
  const auto* typed = belay::detail::exception_as<error>(what.exception());
  const error_kind kind = typed != nullptr ? typed->kind() : error_kind::internal;
  const public_text text = text_for(kind);
  return {.status = default_status(kind), .code = text.code, .detail = text.detail};
}

void problem::extend(std::string_view name, std::string_view value) {
  add_extension(*this, name, to_json_string(value));
}
void problem::extend(std::string_view name, std::int64_t value) {
  add_extension(*this, name, std::to_string(value));
}

std::string problem::to_json() const {
  std::string out = "{\"type\":";
  append_json_string(out, !type.empty() ? type : code.empty() ? "about:blank" : "urn:problem-type:" + code);
  const std::string fallback = code.empty() ? std::string(reason_phrase(status)) : to_title(code);
  append_member(out, "title", title.empty() ? fallback : title);
  out += ",\"status\":" + std::to_string(to_int(status));
  append_member(out, "detail", detail);
  append_member(out, "instance", instance);
  append_member(out, "code", code);
  append_member(out, "trace_id", trace_id);
  if (!errors.empty()) {
    out += ",\"errors\":[";
    for (const field_error& one : errors) {
      if (&one != &errors.front()) out += ',';
      out += "{\"pointer\":";
      append_json_string(out, one.pointer);
      out += ",\"detail\":";
      append_json_string(out, one.detail);
      out += '}';
    }
    out += ']';
  }
  for (const auto& [name, json] : extensions) {
    out += ',';
    append_json_string(out, name);
    out += ':';
    out += json;
  }
  out += '}';
  return out;
}

response to_response(const problem& from) {
  response out{from.status, {}, from.to_json()};
  out.headers.add("Content-Type", "application/problem+json");
  return out;
}

problem_error::problem_error(http::problem what, http::headers headers, std::source_location where)
    : error(default_kind(what.status), what.code, message_of(what), where),
      problem_(std::move(what)),
      headers_(std::move(headers)) {}

problem_error::problem_error(http::status code, std::string name, std::string detail,
                             std::source_location where)
    : problem_error(http::problem{.status = code, .code = std::move(name), .detail = std::move(detail)}, {},
                    where) {}

error_kind default_kind(status code) noexcept {
  switch (code) {
    case status::unauthorized: return error_kind::unauthenticated;
    case status::forbidden: return error_kind::denied;
    case status::not_found:
    case status::gone: return error_kind::not_found;
    case status::conflict:
    case status::precondition_failed: return error_kind::conflict;
    case status::request_timeout:
    case status::gateway_timeout: return error_kind::timed_out;
    case status::too_many_requests: return error_kind::overloaded;
    case status::bad_gateway:
    case status::service_unavailable: return error_kind::unavailable;
    default: return is_client_error(code) ? error_kind::invalid : error_kind::internal;
  }
}

status default_status(error_kind kind) noexcept {
  switch (kind) {
    case error_kind::invalid: return status::unprocessable_content;
    case error_kind::not_found: return status::not_found;
    case error_kind::conflict: return status::conflict;
    case error_kind::denied: return status::forbidden;
    case error_kind::unauthenticated: return status::unauthorized;
    case error_kind::unavailable:
    case error_kind::overloaded: return status::service_unavailable;
    case error_kind::timed_out: return status::gateway_timeout;
    case error_kind::child_cancelled:
    case error_kind::data_format:
    case error_kind::internal: break;
  }
  return status::internal_server_error;
}

std::string to_retry_after(duration wait) {
  return std::to_string(std::max<std::int64_t>(1, std::chrono::ceil<std::chrono::seconds>(wait).count()));
}

}  // namespace belay::http
