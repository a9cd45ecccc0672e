// SPDX-License-Identifier: Apache-2.0
// Rows as JSON.

#include "json.hpp"

#include <belay/db/value.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>

namespace accounts {

boost::json::object to_json(const belay::db::row& from) {
  boost::json::object made;
  for (const std::string& name : from.columns()) {
    const belay::db::value& column = from[name];
    if (std::holds_alternative<std::int64_t>(column.get())) {
      made[name] = column.as<std::int64_t>(name);
    } else {
      made[name] = column.as<std::string>(name);
    }
  }
  return made;
}

boost::json::array to_json(const belay::db::rows& from) {
  boost::json::array made;
  for (const belay::db::row& one : from) made.push_back(to_json(one));
  return made;
}

belay::http::response answer(belay::http::status status, const boost::json::value& body) {
  return belay::http::response::json(status, boost::json::serialize(body));
}

}  // namespace accounts
