// SPDX-License-Identifier: Apache-2.0
// The handle of a body that is made while it is sent.

#include <belay/http/streamed_body.hpp>

#include <utility>

namespace belay::http {

streamed_body::streamed_body(stream<std::string> pieces, stream_options options) {
  if (options.heartbeat_every < duration::zero())
    throw misuse_error("stream_options: heartbeat_every is negative");
  if (options.heartbeat_every > duration::zero() && options.length)
    throw misuse_error("stream_options: a heartbeat would add to a body whose length is given");
  state_ = std::make_shared<state>(state{std::move(pieces), std::move(options)});
}

stream<std::string> streamed_body::take() const {
  if (state_ == nullptr || !state_->pieces)
    throw misuse_error("streamed_body::take: there is no stream, or it was sent before (copies share it)");
  stream<std::string> out = std::move(*state_->pieces);
  state_->pieces.reset();
  return out;
}

}  // namespace belay::http
