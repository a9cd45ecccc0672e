// SPDX-License-Identifier: Apache-2.0
// Which network a thread uses, the sockets' forwarding to it, and what failures are called on all of them.

#include <belay/io/network.hpp>

#include <cerrno>
#include <string>
#include <utility>

namespace belay::io {

namespace {

constinit thread_local network* overriding = nullptr;

// By number: the categories of Asio and of the standard library are not the same objects.
bool means_gone(const std::error_code& reason) noexcept {
  for (const std::errc gone :
       {std::errc::connection_reset, std::errc::broken_pipe, std::errc::connection_aborted,
        std::errc::not_connected, std::errc::timed_out, std::errc::network_reset}) {
    if (reason == gone) return true;
  }
  return false;
}

}  // namespace

network& current_network() noexcept { return overriding != nullptr ? *overriding : system_network(); }

network_override::network_override(network& with) noexcept : before_(std::exchange(overriding, &with)) {}
network_override::~network_override() { overriding = before_; }

void throw_network_error(std::string_view what, const endpoint& with, std::error_code reason) {
  std::string message = std::string(what) + " " + with.to_string() + ": " + reason.message();
  if (means_gone(reason)) throw disconnected_error(std::move(message), reason);
  throw network_error(std::move(message), reason);
}

tcp_stream::tcp_stream(std::unique_ptr<stream_transport> opened) noexcept : transport_(std::move(opened)) {}
tcp_stream::tcp_stream(tcp_stream&&) noexcept = default;
tcp_stream& tcp_stream::operator=(tcp_stream&&) noexcept = default;
tcp_stream::~tcp_stream() = default;

task<std::size_t> tcp_stream::read_some(std::span<char> into) { return transport_->read_some(into); }
task<> tcp_stream::write(std::string_view data) { return transport_->write(data); }
std::size_t tcp_stream::try_write(std::string_view data) noexcept { return transport_->try_write(data); }
void tcp_stream::end_writing() noexcept { transport_->end_writing(); }
void tcp_stream::close() noexcept { transport_->close(); }
bool tcp_stream::is_open() const noexcept { return transport_ && transport_->is_open(); }
const endpoint& tcp_stream::peer() const noexcept { return transport_->peer(); }

tcp_listener::tcp_listener(std::unique_ptr<listener_transport> bound) noexcept
    : transport_(std::move(bound)) {}
tcp_listener::tcp_listener(tcp_listener&&) noexcept = default;
tcp_listener& tcp_listener::operator=(tcp_listener&&) noexcept = default;
tcp_listener::~tcp_listener() = default;

tcp_listener tcp_listener::bind(const endpoint& at, int backlog, std::source_location where) {
  return bind(at, listen_options{.backlog = backlog}, where);
}
tcp_listener tcp_listener::bind(const endpoint& at, const listen_options& options,
                                std::source_location where) {
  return tcp_listener(current_network().bind(at, options, where));
}
task<tcp_stream> tcp_listener::accept(std::source_location where) { return transport_->accept(where); }
void tcp_listener::close() noexcept { transport_->close(); }
const endpoint& tcp_listener::local() const noexcept { return transport_->local(); }

task<tcp_stream> connect(endpoint to, std::source_location where) {
  return current_network().connect(std::move(to), where);
}

}  // namespace belay::io
