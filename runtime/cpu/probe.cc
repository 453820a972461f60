// SPDX-License-Identifier: Apache-2.0
#include "runtime/cpu/probe.h"

#define HWY_WANT_AVX3_DL  // code_pairs-inl.h
#include "runtime/cpu/targets.h"
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "runtime/cpu/probe.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "runtime/cpu/bf16_pairs-inl.h"
#include "runtime/cpu/code_pairs-inl.h"
#include "runtime/cpu/product_rows.h"
#include "runtime/cpu/tile_registers-inl.h"

HWY_BEFORE_NAMESPACE();
namespace folkmoot::cpu {
namespace HWY_NAMESPACE {

const char* TargetNameOf() { return hwy::TargetName(HWY_TARGET); }
bool IsFused() { return HWY_NATIVE_FMA != 0; }

uint32_t SumWordsOf(const std::byte* data, int64_t bytes) {
  constexpr int64_t kChains = 8;
  const DU d;
  constexpr int64_t kVectorBytes = static_cast<int64_t>(kVector) * 4;
  auto sums = hn::Zero(d);
  hn::Vec<DU> chains[kChains];
  for (auto& chain : chains) chain = hn::Zero(d);
  for (int64_t i = 0; i < bytes; i += kChains * kVectorBytes) {
    for (int64_t c = 0; c < kChains; ++c) {
      const auto* word = reinterpret_cast<const uint32_t*>(data + i + c * kVectorBytes);
      chains[c] = hn::Add(chains[c], hn::Load(d, word));
    }
  }
  for (const auto& chain : chains) sums = hn::Add(sums, chain);
  HWY_ALIGN uint32_t lanes[kVector];
  hn::Store(sums, d, lanes);
  uint32_t total = 0;
  for (const uint32_t lane : lanes) total += lane;
  return total;
}

// add(sum, a, b) on chains that do not wait for each other, each instruction for `operations` per
// lane.
template <class Add>
HWY_INLINE int64_t RunFloats(int64_t rounds, int64_t operations, float* sink, Add add) {
  constexpr int64_t kChains = 12;
  const DF d;
  VF chains[kChains];
  for (int64_t c = 0; c < kChains; ++c) chains[c] = hn::Set(d, static_cast<float>(c));
  const VF a = hn::Set(d, 0.999f);
  const VF b = hn::Set(d, *sink);
  for (int64_t i = 0; i < rounds; ++i) {
    for (VF& chain : chains) chain = add(chain, a, b);
  }
  VF sum = chains[0];
  for (const VF& chain : chains) sum = hn::Add(sum, chain);
  *sink = hn::GetLane(sum);
  return rounds * kChains * static_cast<int64_t>(kVector) * operations;
}

template <class Add>
HWY_INLINE int64_t RunIntegers(int64_t rounds, int64_t operations, float* sink, Add add) {
  constexpr int64_t kChains = 12;
  const DI d;
  const VI a = hn::Set(d, static_cast<int32_t>(*sink) + 3);
  VI chains[kChains];
  for (VI& chain : chains) chain = a;
  VI b = hn::Set(d, static_cast<int32_t>(*sink) + 4);
  for (int64_t i = 0; i < rounds; ++i) {
    for (VI& chain : chains) chain = add(chain, a, b);
    b = hn::Xor(b, chains[0]);  // else the product would be made once
  }
  VI sum = chains[0];
  for (const VI& chain : chains) sum = hn::Add(sum, chain);
  *sink = static_cast<float>(hn::GetLane(sum));
  return rounds * kChains * static_cast<int64_t>(kVector) * operations;
}

#if HWY_TARGET == HWY_AVX3_DL
// Products by tile registers, on sums that do not wait for each other; of bytes, or as many bytes
// of bfloat16.
int64_t RunTiles(bool bytes, int64_t rounds) {
  TileShapes shapes;
  for (int tile = 0; tile < kTileRegisters; ++tile) {
    shapes.Set(tile, kTileRegisterRows, kTileRowBytes);
  }
  SetTileShapes(shapes);  // which makes all of them zero
  for (int64_t i = 0; i < rounds; ++i) {
    if (bytes) {
      AddSignedRows<0, 4, 6>();
      AddSignedRows<1, 4, 7>();
      AddSignedRows<2, 5, 6>();
      AddSignedRows<3, 5, 7>();
    } else {
      AddBf16Rows<0, 4, 6>();
      AddBf16Rows<1, 4, 7>();
      AddBf16Rows<2, 5, 6>();
      AddBf16Rows<3, 5, 7>();
    }
  }
  ReleaseTiles();
  return rounds * 4 * 2 * kTileRegisterRows * kTileOutputs * kTileRowBytes / (bytes ? 1 : 2);
}

// Operations of `kind`; 0 where tile registers do not make them.
int64_t RunTileProducts(ProductKind kind, int64_t rounds) {
  if (!HasTileRegisters()) return 0;
  switch (kind) {
    case ProductKind::kBytes:
      return RunTiles(true, rounds);
    case ProductKind::kIntegers:
      return RunTiles(true, rounds) / 2;
    case ProductKind::kBfloat16Tiles:
      return RunTiles(false, rounds);
    case ProductKind::kFloatTiles:
      return RunTiles(false, rounds) / kFloatParts;
    default:
      return 0;
  }
}
#endif

int64_t RunProductsOf(ProductKind kind, int64_t rounds, float* sink) {
#if HWY_TARGET == HWY_AVX3_DL
  // An instruction for many more products takes longer.
  if (const int64_t operations = RunTileProducts(kind, rounds / 8); operations > 0) {
    return operations;
  }
#endif
  switch (kind) {
    case ProductKind::kBfloat16:
      if (HasBf16Products()) {
        return RunFloats(rounds, 4, sink,
                         [](VF sum, VF a, VF b) HWY_ATTR { return AddBf16Pairs<true>(a, b, sum); });
      }
      return RunFloats(rounds, 4, sink,
                       [](VF sum, VF a, VF b) HWY_ATTR { return AddBf16Pairs<false>(a, b, sum); });
    case ProductKind::kBytes:
#if HWY_TARGET == HWY_AVX3_DL
      return RunIntegers(rounds, 8, sink,
                         [](VI sum, VI a, VI b) HWY_ATTR { return Bytes::Add(sum, a, b); });
#endif
    case ProductKind::kIntegers:
      return RunIntegers(rounds, 4, sink,
                         [](VI sum, VI a, VI b) HWY_ATTR { return AddPairs(sum, a, b); });
    default:
      return RunFloats(rounds, 2, sink, [](VF sum, VF a, VF b) HWY_ATTR { return Fma(sum, a, b); });
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace folkmoot::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace folkmoot::cpu {
namespace {
HWY_EXPORT(IsFused);
HWY_EXPORT(RunProductsOf);
HWY_EXPORT(SumWordsOf);
HWY_EXPORT(TargetNameOf);
}  // namespace

std::string KernelTarget() { return HWY_DYNAMIC_DISPATCH(TargetNameOf)(); }
bool HasFusedMultiplyAdd() { return HWY_DYNAMIC_DISPATCH(IsFused)(); }
uint32_t SumWords(const std::byte* data, int64_t bytes) {
  return HWY_DYNAMIC_DISPATCH(SumWordsOf)(data, bytes);
}
int64_t RunProducts(ProductKind kind, int64_t rounds, float* sink) {
  return HWY_DYNAMIC_DISPATCH(RunProductsOf)(kind, rounds, sink);
}

}  // namespace folkmoot::cpu
#endif  // HWY_ONCE
