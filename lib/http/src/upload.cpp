// SPDX-License-Identifier: Apache-2.0
// The handle of a request's body that is made while it is sent.

#include <belay/http/upload.hpp>

#include <utility>

namespace belay::http {

upload::upload(state from) {
  if (from.options.continue_timeout <= duration::zero())
    throw misuse_error("upload_options: continue_timeout must be more than zero");
  state_ = std::make_shared<state>(std::move(from));
}

upload::upload(stream<std::string> pieces, upload_options options)
    : upload(state{std::move(pieces), {}, options}) {}

stream<std::string> upload::take() const {
  if (!is_ready()) {
    throw misuse_error(
        "upload::take: there is no stream, or it was sent before (copies share it); "
        "what is to be sent again is made by `upload::again`");
  }
  if (state_->make) return state_->make->call();
  stream<std::string> out = std::move(*state_->pieces);
  state_->pieces.reset();
  return out;
}

}  // namespace belay::http
