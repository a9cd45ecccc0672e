// SPDX-License-Identifier: Apache-2.0
#pragma once
// Keeps secrets out of what is written: by the name of a field, and in running text.

#include <string>
#include <string_view>
#include <vector>

namespace belay::telemetry {

/// What stands in place of a secret.
inline constexpr std::string_view redacted_text = "[redacted]";

/// "password", "passwd", "authorization", "cookie", "secret", "token", "api_key".
[[nodiscard]] std::vector<std::string> default_secret_keys();

/// Knows which names hold secrets. Names are compared without regard to case and to `-`, `_`, `.`; a longer
/// name that has a secret one as a whole part counts too: `access_token`, `Set-Cookie`, `dbPassword`; but not
/// `tokens_left`.
///
/// Thread: constant after construction.
class redactor {
 public:
  explicit redactor(std::vector<std::string> secret_keys = default_secret_keys());

  [[nodiscard]] bool is_secret(std::string_view key) const;

  /// `text` with the values masked that follow a secret name (`token=…`, `"password": "…"`, `Authorization:
  /// Bearer …`), and the passwords of URLs (`postgresql://user:…@host`). A safety net: secrets do not belong
  /// into messages.
  [[nodiscard]] std::string text(std::string_view text) const;

 private:
  std::vector<std::vector<std::string>> secret_words_;  // each key as its lower-case words
};

}  // namespace belay::telemetry
