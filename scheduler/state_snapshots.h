// SPDX-License-Identifier: Apache-2.0
// Copies of recurrent state on one rank, which make cached pages of use to models that have one:
// behind the page that a copy belongs to, a sequence can go on. Decides which copy is written next;
// the rank keeps them.
//
// A copy is free, being written, or belongs to a page of the prefix cache. When none is free, the
// one that was used longest ago leaves its page.
#pragma once

#include <cstddef>
#include <cstdint>
#include <list>
#include <vector>

namespace folkmoot {

class StateSnapshots {
 public:
  StateSnapshots(int64_t count, int64_t pages);

  int64_t total() const { return static_cast<int64_t>(places_.size()); }
  int64_t free() const { return static_cast<int64_t>(free_.size()); }
  int64_t kept() const { return static_cast<int64_t>(kept_.size()); }

  // One to write to; -1: all are being written.
  int32_t Take();
  // It is written, and belongs to `page`; in place of the one that the page had.
  void Keep(int32_t snapshot, int32_t page);
  // It was taken, and is not wanted.
  void Return(int32_t snapshot);

  // That of a page, or -1.
  int32_t OfPage(int32_t page) const { return of_page_[static_cast<size_t>(page)]; }
  void Use(int32_t page);   // the page has one, which was just used
  void Drop(int32_t page);  // the page loses it, if it has one

 private:
  struct Place {
    int32_t page = -1;
    std::list<int32_t>::iterator in_kept;  // where page >= 0
  };
  void Leave(int32_t snapshot);  // its page

  std::vector<Place> places_;     // by snapshot
  std::vector<int32_t> of_page_;  // by page
  std::vector<int32_t> free_;     // a stack
  std::list<int32_t> kept_;       // the one used last at the end
};

}  // namespace folkmoot
