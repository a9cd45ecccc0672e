// SPDX-License-Identifier: Apache-2.0
// A listener whose connections shake hands when they are first used.

#include <belay/core/error.hpp>

#include <utility>

#include "tls_private.hpp"

namespace belay::io::tls {

namespace {

class tls_listener final : public listener_transport {
 public:
  tls_listener(tcp_listener over, context with, listen_options options)
      : below_(std::move(over)), context_(std::move(with)), options_(std::move(options)) {}

  task<tcp_stream> accept(std::source_location where) override {
    tcp_stream accepted = co_await below_.accept(where);
    co_return tcp_stream(make_accepted(std::move(accepted), context_, options_, where));
  }
  void close() noexcept override { below_.close(); }
  const endpoint& local() const noexcept override { return below_.local(); }

 private:
  tcp_listener below_;
  context context_;
  listen_options options_;
};

}  // namespace

tcp_listener listen(tcp_listener over, context with, listen_options options) {
  if (with.get().side != role::server)
    throw misuse_error("tls::listen: the context is a client's; make one by tls::context::server");
  if (options.handshake_timeout <= duration::zero())
    throw misuse_error("tls::listen_options: handshake_timeout must be more than zero");
  return tcp_listener(std::make_unique<tls_listener>(std::move(over), std::move(with), std::move(options)));
}

}  // namespace belay::io::tls
