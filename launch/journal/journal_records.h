// SPDX-License-Identifier: Apache-2.0
// What the frames of a journal's file say: the first one which server it is of, the others what
// became of its requests (proto/journal.proto).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "launch/agreement.h"
#include "launch/api/request_journal.h"

namespace folkmoot {

// The first frame of a file of the server with these fields.
std::string HeaderFrame(const AgreementFields& fields);

// Records can be put one behind the other.
std::string AcceptRecord(uint64_t id, const HttpRequest& http, uint64_t fresh_seed, int64_t now);
std::string EventRecord(uint64_t id, size_t prompt, const OutputEvent& event);
std::string EndRecord(uint64_t id);
// The frame of a commit of records.
std::string RecordsFrame(const std::string& records);

// Adds to `requests` what the frames of a file say, as far as they can be read. Returns in what the
// server of the file differs from that with `fields`, so that none of its requests can go on here;
// empty: in nothing.
std::string ReadRecords(const std::vector<std::string>& frames, const AgreementFields& fields,
                        std::map<uint64_t, JournaledRequest>* requests);

}  // namespace folkmoot
