// SPDX-License-Identifier: Apache-2.0
// The tables: number, kind, code.

#include <belay/errors/native_codes.hpp>

#include <algorithm>
#include <array>
#include <cerrno>
#include <optional>
#include <span>

namespace belay {

namespace {

using kind = error_kind;

struct row {
  int number;
  kind means;
  const char* code;
};

classification look_up(std::span<const row> table, int number, const char* otherwise) {
  const auto found = std::ranges::find(table, number, &row::number);
  return found == table.end() ? classification::of(kind::internal, otherwise)
                              : classification::of(found->means, found->code);
}

constexpr std::array system_rows{
    row{EPERM, kind::denied, "not_permitted"},
    row{EACCES, kind::denied, "access_denied"},
    row{EROFS, kind::denied, "read_only"},
    row{ENOENT, kind::not_found, "no_such_file"},
    row{ENODEV, kind::not_found, "no_such_device"},
    row{ENXIO, kind::not_found, "no_such_device"},
    row{ESRCH, kind::not_found, "no_such_process"},
    row{EEXIST, kind::conflict, "exists_already"},
    row{ENOTEMPTY, kind::conflict, "not_empty"},
    row{EADDRINUSE, kind::conflict, "address_in_use"},
    row{EINVAL, kind::invalid, "invalid_argument"},
    row{EDOM, kind::invalid, "out_of_domain"},
    row{ERANGE, kind::invalid, "out_of_range"},
    row{ENAMETOOLONG, kind::invalid, "name_too_long"},
    row{ENOTDIR, kind::invalid, "no_directory"},
    row{EISDIR, kind::invalid, "is_a_directory"},
    row{EMSGSIZE, kind::invalid, "message_too_long"},
    row{EFBIG, kind::invalid, "file_too_big"},
    row{EADDRNOTAVAIL, kind::invalid, "address_not_available"},
    row{EAFNOSUPPORT, kind::invalid, "address_family"},
    row{EILSEQ, kind::data_format, "illegal_byte_sequence"},
    row{EBADMSG, kind::data_format, "bad_message"},
    row{EPROTO, kind::data_format, "protocol_error"},
    row{EAGAIN, kind::unavailable, "try_again"},
    row{EINTR, kind::unavailable, "interrupted"},
    row{EBUSY, kind::unavailable, "busy"},
    row{ETXTBSY, kind::unavailable, "busy"},
    row{EIO, kind::unavailable, "io_error"},
    row{EPIPE, kind::unavailable, "broken_pipe"},
    row{ECONNREFUSED, kind::unavailable, "connection_refused"},
    row{ECONNRESET, kind::unavailable, "connection_reset"},
    row{ECONNABORTED, kind::unavailable, "connection_aborted"},
    row{ENOTCONN, kind::unavailable, "not_connected"},
    row{ESHUTDOWN, kind::unavailable, "shut_down"},
    row{EHOSTUNREACH, kind::unavailable, "host_unreachable"},
    row{EHOSTDOWN, kind::unavailable, "host_down"},
    row{ENETUNREACH, kind::unavailable, "network_unreachable"},
    row{ENETDOWN, kind::unavailable, "network_down"},
    row{ENETRESET, kind::unavailable, "network_reset"},
    row{ECANCELED, kind::child_cancelled, "aborted"},
    row{ENOMEM, kind::overloaded, "out_of_memory"},
    row{ENOBUFS, kind::overloaded, "no_buffers"},
    row{EMFILE, kind::overloaded, "too_many_files"},
    row{ENFILE, kind::overloaded, "too_many_files"},
    row{ENOSPC, kind::unavailable, "disk_full"},
    row{EDQUOT, kind::unavailable, "disk_full"},
    row{ETIMEDOUT, kind::timed_out, "timed_out"},
    row{ETIME, kind::timed_out, "timed_out"},
};

// Primary result codes; the extended ones that differ come first.
constexpr std::array sqlite_rows{
    row{2067, kind::conflict, "unique_violation"},      // CONSTRAINT_UNIQUE
    row{1555, kind::conflict, "unique_violation"},      // CONSTRAINT_PRIMARYKEY
    row{2579, kind::conflict, "unique_violation"},      // CONSTRAINT_ROWID
    row{787, kind::conflict, "foreign_key_violation"},  // CONSTRAINT_FOREIGNKEY
    row{1299, kind::invalid, "not_null_violation"},     // CONSTRAINT_NOTNULL
    row{275, kind::invalid, "check_violation"},         // CONSTRAINT_CHECK
    row{3091, kind::invalid, "data_type_violation"},    // CONSTRAINT_DATATYPE
    row{1811, kind::internal, "trigger_raised"},        // CONSTRAINT_TRIGGER
    row{1, kind::internal, "bad_statement"},            // ERROR
    row{3, kind::denied, "denied"},                     // PERM
    row{4, kind::unavailable, "aborted"},               // ABORT
    row{5, kind::unavailable, "database_locked"},       // BUSY
    row{6, kind::unavailable, "database_locked"},       // LOCKED
    row{7, kind::overloaded, "out_of_memory"},          // NOMEM
    row{8, kind::denied, "read_only"},                  // READONLY
    row{9, kind::child_cancelled, "interrupted"},       // INTERRUPT: somebody wanted it to stop
    row{10, kind::unavailable, "io_error"},             // IOERR
    row{11, kind::internal, "corrupt"},                 // CORRUPT
    row{13, kind::unavailable, "disk_full"},            // FULL
    row{14, kind::unavailable, "cannot_open"},          // CANTOPEN
    row{15, kind::unavailable, "database_locked"},      // PROTOCOL
    row{17, kind::internal, "bad_statement"},           // SCHEMA
    row{18, kind::invalid, "too_big"},                  // TOOBIG
    row{19, kind::conflict, "constraint_violation"},    // CONSTRAINT
    row{20, kind::internal, "bad_statement"},           // MISMATCH
    row{23, kind::denied, "denied"},                    // AUTH
    row{25, kind::internal, "bad_statement"},           // RANGE
    row{26, kind::internal, "not_a_database"},          // NOTADB
};

constexpr std::array curl_rows{
    row{1, kind::invalid, "unsupported_protocol"},
    row{3, kind::invalid, "bad_url"},
    row{5, kind::unavailable, "proxy_not_found"},
    row{6, kind::unavailable, "host_not_found"},
    row{7, kind::unavailable, "connection_refused"},
    row{8, kind::data_format, "weird_server_reply"},
    row{9, kind::denied, "access_denied"},
    row{16, kind::unavailable, "http2_error"},
    row{18, kind::unavailable, "partial_file"},
    row{22, kind::internal, "http_status"},  // the status says more: ask for it
    row{27, kind::overloaded, "out_of_memory"},
    row{28, kind::timed_out, "timed_out"},
    row{35, kind::unavailable, "tls_connect_error"},
    row{37, kind::not_found, "no_such_file"},
    row{43, kind::invalid, "invalid_argument"},
    row{47, kind::data_format, "too_many_redirects"},
    row{52, kind::unavailable, "no_answer"},
    row{55, kind::unavailable, "send_error"},
    row{56, kind::unavailable, "receive_error"},
    row{58, kind::invalid, "client_certificate"},
    row{60, kind::denied, "untrusted_certificate"},
    row{61, kind::data_format, "bad_content_encoding"},
    row{63, kind::invalid, "file_too_big"},
    row{67, kind::unauthenticated, "login_denied"},
    row{78, kind::not_found, "remote_file_not_found"},
    row{91, kind::denied, "untrusted_certificate"},
    row{92, kind::unavailable, "http2_error"},
    row{94, kind::unauthenticated, "login_denied"},
    row{95, kind::unavailable, "http3_error"},
    row{96, kind::unavailable, "quic_connect_error"},
};

struct state_row {
  std::string_view starts_with;  // a whole state, or its class: the first two characters
  kind means;
  const char* code;
  // Other than the kind says: rolled back because of others, so the whole transaction may be run again; or stopped by somebody who meant it.
  std::optional<bool> again = {};
};

constexpr std::array sqlstate_rows{
    state_row{"23505", kind::conflict, "unique_violation"},
    state_row{"23503", kind::conflict, "foreign_key_violation"},
    state_row{"23P01", kind::conflict, "exclusion_violation"},
    state_row{"23502", kind::invalid, "not_null_violation"},
    state_row{"23514", kind::invalid, "check_violation"},
    state_row{"40001", kind::conflict, "serialization_failure", true},
    state_row{"40P01", kind::conflict, "deadlock_detected", true},
    state_row{"42501", kind::denied, "denied"},
    state_row{"42P04", kind::conflict, "exists_already"},
    state_row{"42P06", kind::conflict, "exists_already"},
    state_row{"42P07", kind::conflict, "exists_already"},
    state_row{"55P03", kind::unavailable, "lock_not_available"},
    state_row{"57014", kind::timed_out, "query_cancelled", false},  // by hand or by statement_timeout
    state_row{"57P01", kind::unavailable, "shutting_down"},
    state_row{"57P02", kind::unavailable, "shutting_down"},
    state_row{"57P03", kind::unavailable, "starting_up"},
    state_row{"57P05", kind::unavailable, "idle_session_ended"},
    state_row{"25006", kind::denied, "read_only"},
    state_row{"53300", kind::overloaded, "too_many_connections"},
    state_row{"53100", kind::unavailable, "disk_full"},
    state_row{"08P01", kind::internal, "protocol_violation"},
    state_row{"08", kind::unavailable, "connection_lost"},
    state_row{"0A", kind::invalid, "not_supported"},
    state_row{"22", kind::invalid, "invalid_value"},
    state_row{"23", kind::conflict, "constraint_violation"},
    state_row{"28", kind::unauthenticated, "authentication_failed"},
    state_row{"3D", kind::not_found, "no_such_database"},
    state_row{"40002", kind::conflict, "constraint_violation"},
    state_row{"40003", kind::conflict, "completion_unknown"},
    state_row{"40", kind::conflict, "transaction_rolled_back", true},
    state_row{"42", kind::internal, "bad_statement"},
    state_row{"53", kind::overloaded, "no_resources"},
    state_row{"54", kind::invalid, "too_big"},
    state_row{"57", kind::unavailable, "operator_intervention"},
    state_row{"58", kind::unavailable, "io_error"},
    state_row{"XX", kind::internal, "corrupt"},
};

}  // namespace

classification classify_errno(int number) { return look_up(system_rows, number, "system"); }

classification classify_sqlite(int code) {
  const auto extended = std::ranges::find(sqlite_rows, code, &row::number);
  return look_up(sqlite_rows, extended != sqlite_rows.end() ? code : code & 0xFF, "sqlite");
}

classification classify_curl(int code) { return look_up(curl_rows, code, "curl"); }

classification classify_sqlstate(std::string_view state) {
  if (state.empty()) return classification::of(kind::unavailable, "connection_lost");
  const auto found = std::ranges::find_if(
      sqlstate_rows, [state](const state_row& one) { return state.starts_with(one.starts_with); });
  if (found == sqlstate_rows.end()) return classification::of(kind::internal, "postgresql");
  classification answer = classification::of(found->means, found->code);
  if (found->again) answer.retryable = *found->again;
  return answer;
}

}  // namespace belay
