// An accelerator for tests: PyTorch's PrivateUse1 device on ordinary memory, with the processor's kernels.
//
// Numbers are real, and nothing is copied: a kernel sees the device's memory through ordinary tensors over it,
// and what it makes is handed over to the device. What a GPU refuses is refused: tensors of two devices in one
// operation, generators of another device, more memory than there is, devices that are not there.
// Counted are launches of kernels, copies that go on by themselves, and each place at which the host would wait.
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/extension.h>

#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>

namespace {

using c10::IValue;
using Host = at::Tensor;   // lies on the processor, over the same memory
using Given = at::Tensor;  // lies on the device

constexpr auto kDevice = c10::DeviceType::PrivateUse1;
constexpr int kMost = 8;
int devices = 1;
thread_local int current = 0;

int checked(int index) {
  if (index < 0) return current;
  TORCH_CHECK(index < devices, "invalid device ordinal: ", index, " of ", devices, " devices");
  return index;
}
c10::Device device_at(int index) { return {kDevice, static_cast<c10::DeviceIndex>(checked(index))}; }

// ---------------------------------------------------------------- counters

std::mutex counting;
std::map<std::string, int64_t> counters;

void count(const std::string& what) {
  std::lock_guard<std::mutex> held(counting);
  ++counters[what];
}
void count_launch(const std::string& name) {
  count("launches");
  count("launch:" + name);
}
void count_wait(const std::string& reason) {
  count("waits");
  count("wait:" + reason);
}

// ---------------------------------------------------------------- memory

struct Memory {
  std::atomic<int64_t> used{0}, peak{0}, limit{int64_t{16} << 30};
};
std::array<Memory, kMost> memories;

// Bytes that are taken from a device's memory for as long as this lives.
struct Share {
  const int device;
  const int64_t size;
  Share(int where, size_t bytes) : device(where), size(static_cast<int64_t>(bytes)) {
    auto& memory = memories[device];
    const int64_t now = memory.used += size;
    if (now > memory.limit) {
      memory.used -= size;
      TORCH_CHECK_WITH(OutOfMemoryError, false, "npu out of memory. Tried to allocate ", size, " bytes: ",
                       now - size, " of ", memory.limit.load(), " are in use on device ", device, ".");
    }
    for (int64_t peak = memory.peak; now > peak && !memory.peak.compare_exchange_weak(peak, now);) {
    }
  }
  ~Share() { memories[device].used -= size; }
};

// A piece of a device's memory: its bytes are those of an ordinary storage.
struct Piece {
  std::unique_ptr<Share> share;
  c10::Storage bytes;
  static void drop(void* piece) { delete static_cast<Piece*>(piece); }
};

c10::DataPtr piece_of(std::unique_ptr<Share> share, const c10::Storage& bytes) {
  const auto where = device_at(share->device);
  return {bytes.mutable_data(), new Piece{std::move(share), bytes}, &Piece::drop, where};
}
c10::DataPtr piece_of(const c10::Storage& bytes, int device) {
  return piece_of(std::make_unique<Share>(device, bytes.nbytes()), bytes);
}

struct Allocator final : c10::DeviceAllocator {
  c10::DataPtr allocate(size_t size) override {
    auto share = std::make_unique<Share>(current, size);
    auto* plain = c10::GetCPUAllocator();
    const c10::Storage bytes(c10::Storage::use_byte_size_t(), size, plain->allocate(size), plain, true);
    return piece_of(std::move(share), bytes);
  }
  void copy_data(void* to, const void* from, size_t size) const override { default_copy_data(to, from, size); }
  bool initialized() override { return true; }
  void emptyCache(c10::MempoolId_t) override {}
  void recordStream(const c10::DataPtr&, c10::Stream) override {}
  c10::CachingDeviceAllocator::DeviceStats getDeviceStats(c10::DeviceIndex index) override {
    c10::CachingDeviceAllocator::DeviceStats stats;
    stats.allocated_bytes[0].current = memories[checked(index)].used;
    stats.allocated_bytes[0].peak = memories[checked(index)].peak;
    return stats;
  }
  void resetAccumulatedStats(c10::DeviceIndex) override {}
  void resetPeakStats(c10::DeviceIndex index) override {
    auto& memory = memories[checked(index)];
    memory.peak = memory.used.load();
  }
  std::pair<size_t, size_t> getMemoryInfo(c10::DeviceIndex index) override {
    auto& memory = memories[checked(index)];
    return {memory.limit - memory.used, memory.limit};
  }
};
Allocator allocator;
REGISTER_ALLOCATOR(kDevice, &allocator);

// ---------------------------------------------------------------- devices and draws

struct Guard final : c10::impl::DeviceGuardImplInterface {
  c10::DeviceType type() const override { return kDevice; }
  c10::Device getDevice() const override { return device_at(current); }
  void setDevice(c10::Device device) const override { current = checked(device.index()); }
  void uncheckedSetDevice(c10::Device device) const noexcept override {
    if (device.index() >= 0) current = device.index();
  }
  c10::Device exchangeDevice(c10::Device device) const override {
    const auto before = getDevice();
    setDevice(device);
    return before;
  }
  c10::DeviceIndex deviceCount() const noexcept override { return static_cast<c10::DeviceIndex>(devices); }
  // There is one stream, and it is always done.
  c10::Stream getStream(c10::Device device) const noexcept override {
    if (device.index() < 0) device.set_index(static_cast<c10::DeviceIndex>(current));
    return c10::Stream(c10::Stream::DEFAULT, device);
  }
  c10::Stream getDefaultStream(c10::Device device) const override { return getStream(device); }
  c10::Stream getNewStream(c10::Device device, int) const override { return getStream(device); }
  c10::Stream getStreamFromGlobalPool(c10::Device device, bool) const override { return getStream(device); }
  c10::Stream exchangeStream(c10::Stream stream) const noexcept override { return getStream(stream.device()); }
  void record(void**, const c10::Stream&, const c10::DeviceIndex, const c10::EventFlag) const override {}
  void block(void*, const c10::Stream&) const override {}
  bool queryEvent(void*) const override { return true; }
  void destroyEvent(void*, const c10::DeviceIndex) const noexcept override {}
  bool queryStream(const c10::Stream&) const override { return true; }
  void synchronizeStream(const c10::Stream&) const override { count_wait("synchronize"); }
  void synchronizeEvent(void*) const override { count_wait("synchronize"); }
  void synchronizeDevice(const c10::DeviceIndex) const override { count_wait("synchronize"); }
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

// The processor's generator, in the device's name: its draws are its own.
struct Draws final : c10::GeneratorImpl {
  at::Generator own = at::detail::createCPUGenerator();
  explicit Draws(int device) : GeneratorImpl(device_at(device), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1)) {}
  void set_current_seed(uint64_t seed) override { own.set_current_seed(seed); }
  uint64_t current_seed() const override { return own.current_seed(); }
  uint64_t seed() override { return own.seed(); }
  void set_offset(uint64_t offset) override { own.set_offset(offset); }
  uint64_t get_offset() const override { return own.get_offset(); }
  void set_state(const c10::TensorImpl& state) override { own.unsafeGetGeneratorImpl()->set_state(state); }
  c10::intrusive_ptr<c10::TensorImpl> get_state() const override { return own.unsafeGetGeneratorImpl()->get_state(); }
  Draws* clone_impl() const override {
    auto* other = new Draws(device_.index());
    other->own = own.clone();
    return other;
  }
};

at::Generator& default_generator(int index) {
  static std::array<at::Generator, kMost> all;
  auto& found = all[checked(index)];
  if (!found.defined()) found = at::make_generator<Draws>(checked(index));
  return found;
}
at::Generator& draws_of(const at::Generator& generator) {
  return static_cast<Draws*>(generator.unsafeGetGeneratorImpl())->own;
}

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex) const override { return true; }
  const at::Generator& getDefaultGenerator(c10::DeviceIndex index) const override { return default_generator(index); }
  at::Generator getNewGenerator(c10::DeviceIndex index) const override {
    return at::make_generator<Draws>(checked(index));
  }
  at::Device getDeviceFromPtr(void*) const override { return device_at(current); }
  at::Allocator* getPinnedMemoryAllocator() const override { return c10::GetCPUAllocator(); }
  c10::DeviceIndex deviceCount() const override { return static_cast<c10::DeviceIndex>(devices); }
  c10::DeviceIndex getCurrentDevice() const override { return static_cast<c10::DeviceIndex>(current); }
  void setCurrentDevice(c10::DeviceIndex index) const override { current = checked(index); }
  c10::DeviceIndex exchangeDevice(c10::DeviceIndex index) const override {
    const auto before = getCurrentDevice();
    setCurrentDevice(index);
    return before;
  }
  c10::DeviceIndex maybeExchangeDevice(c10::DeviceIndex index) const override { return exchangeDevice(index); }
  void resizePrivateUse1Bytes(const c10::Storage& storage, size_t size) const override {
    c10::DeviceGuard there(storage.device());
    auto fresh = allocator.allocate(size);
    std::memcpy(fresh.get(), storage.data(), std::min(size, storage.nbytes()));
    storage.set_data_ptr_noswap(std::move(fresh));
    storage.set_nbytes(size);
  }
};

// ---------------------------------------------------------------- tensors, seen from both sides

bool on_device(const at::Tensor& tensor) { return tensor.defined() && tensor.device().type() == kDevice; }

at::Tensor shaped(at::Tensor made, const at::Tensor& like) {
  auto* impl = made.unsafeGetTensorImpl();
  impl->set_sizes_and_strides(like.sizes(), like.strides());
  impl->set_storage_offset(like.storage_offset());
  if (like.is_conj()) made._set_conj(true);
  if (like.is_neg()) made._set_neg(true);
  return made;
}
at::Tensor shaped_as(const at::Tensor& like, c10::Storage storage, c10::DispatchKey key) {
  const c10::DispatchKeySet keys(key);
  return shaped(at::detail::make_tensor<c10::TensorImpl>(std::move(storage), keys, like.dtype()), like);
}
// Of a tensor outside of inference mode a view is none of it either: it has the same keys.
Given view_of(const Given& given, const Host& like) {
  auto storage = given.storage();
  constexpr auto kind = c10::TensorImpl::VIEW;
  auto made = at::detail::make_tensor<c10::TensorImpl>(kind, std::move(storage), given.key_set(), like.dtype());
  return shaped(std::move(made), like);
}

// An ordinary tensor over a device tensor's memory, which it keeps alive.
Host host_of(const Given& tensor) {
  if (!on_device(tensor)) return tensor;
  const auto& storage = tensor.storage();
  auto keep = [](void* held) { delete static_cast<c10::Storage*>(held); };
  c10::DataPtr bytes(storage.mutable_data(), new c10::Storage(storage), keep, c10::Device(c10::kCPU));
  c10::Storage seen(c10::Storage::use_byte_size_t(), storage.nbytes(), std::move(bytes), c10::GetCPUAllocator(), true);
  return shaped_as(tensor, std::move(seen), c10::DispatchKey::CPU);
}
std::optional<Host> host_of(const std::optional<at::Tensor>& tensor) {
  return tensor ? std::optional<Host>(host_of(*tensor)) : std::nullopt;
}

c10::Storage handed_over(const c10::Storage& bytes, int device) {
  return {c10::Storage::use_byte_size_t(), bytes.nbytes(), piece_of(bytes, device), &allocator, true};
}
Given to_device(const Host& made, int device) {
  if (!made.defined()) return made;
  return shaped_as(made, handed_over(made.storage(), device), c10::DispatchKey::PrivateUse1);
}

// ---------------------------------------------------------------- any kernel

// These take indices from the processor, and copy them.
const std::set<std::string> kIndexed = {"aten::index", "aten::_unsafe_index", "aten::index_put", "aten::index_put_",
                                        "aten::_index_put_impl_", "aten::_unsafe_index_put"};
// The size of what these give, or what they give itself, is read from the device.
const std::set<std::string> kRead = {"aten::nonzero", "aten::masked_select", "aten::_unique2", "aten::unique_dim",
                                     "aten::unique_consecutive", "aten::equal", "aten::repeat_interleave",
                                     "aten::bincount"};

// One call of a kernel: its tensors as the processor sees them, and whose they are.
class Call {
 public:
  Call(const c10::OperatorHandle& op, torch::jit::Stack* stack) : op_(op), stack_(stack), name_(op.schema().name()) {}

  void run() {
    const auto& arguments = op_.schema().arguments();
    const auto first = stack_->size() - arguments.size();
    for (size_t i = 0; i < arguments.size(); i++) find_device((*stack_)[first + i]);
    if (device_ < 0) device_ = current;
    for (size_t i = 0; i < arguments.size(); i++) {
      auto& value = (*stack_)[first + i];
      if (arguments[i].name() == "generator") {
        value = own_draws(value);
      } else {
        value = seen(value);
      }
    }
    invoke();
    const auto results = op_.schema().returns().size();
    for (size_t i = stack_->size() - results; i < stack_->size(); i++) (*stack_)[i] = given_back((*stack_)[i]);
    for (auto& [given, host] : pairs_) follow(given, host);
    if (!only_views_) count_launch(name_);
    if (kRead.count(name_)) count_wait(name_);
  }

 private:
  void find_device(const IValue& value) {
    if (value.isTensor()) check(value.toTensor());
    if (value.isTensorList()) for (const at::Tensor& tensor : value.toTensorVector()) check(tensor);
    if (value.isOptionalTensorList())
      for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorList().vec()) if (tensor) check(*tensor);
    if (value.isDevice() && value.toDevice().type() == kDevice) device_ = checked(value.toDevice().index());
  }

  void check(const at::Tensor& tensor) {
    if (!tensor.defined()) return;
    if (on_device(tensor)) {
      TORCH_CHECK(device_ < 0 || device_ == tensor.device().index(), kTwoDevices, "npu:", device_, " and ",
                  tensor.device(), "! (", name_, ")");
      device_ = tensor.device().index();
      // For "index" the mask is made into numbers by another kernel, which waits by itself.
      if (kIndexed.count(name_) && name_ != "aten::index" && started_ && (tensor.scalar_type() == at::kBool || tensor.scalar_type() == at::kByte))
        count_wait("mask as index");
    } else if (kIndexed.count(name_)) {
      if (tensor.numel()) count_wait("index from the host");
    } else {
      TORCH_CHECK(tensor.dim() == 0, kTwoDevices, "npu and ", tensor.device(), "! (", name_, ")");
    }
    started_ = true;
  }

  IValue own_draws(const IValue& value) {
    if (value.isNone()) return draws_of(default_generator(device_));
    TORCH_CHECK(value.toGenerator().device().type() == kDevice, "Expected a 'npu' device type for generator but found '",
                value.toGenerator().device().type(), "' (", name_, ")");
    return draws_of(value.toGenerator());
  }

  Host seen(const at::Tensor& tensor) {
    auto host = host_of(tensor);
    if (on_device(tensor)) pairs_.emplace_back(tensor, host);
    return host;
  }
  IValue seen(const IValue& value) {
    if (value.isTensor()) return seen(value.toTensor());
    if (value.isTensorList()) {
      c10::List<at::Tensor> hosts;
      for (const at::Tensor& tensor : value.toTensorVector()) hosts.push_back(seen(tensor));
      return hosts;
    }
    if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> hosts;
      for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorList().vec())
        hosts.push_back(tensor ? std::optional<at::Tensor>(seen(*tensor)) : std::nullopt);
      return hosts;
    }
    if (value.isDevice() && value.toDevice().type() == kDevice) return c10::Device(c10::kCPU);
    return value;
  }

  // Kernels that draw without being given a generator take the processor's: it holds the device's draws meanwhile.
  void invoke() {
    const auto& arguments = op_.schema().arguments();
    const bool given = std::any_of(arguments.begin(), arguments.end(), [](auto& a) { return a.name() == "generator"; });
    if (given || !op_.hasTag(at::Tag::nondeterministic_seeded)) return op_.callBoxed(stack_);
    auto plain = at::detail::getDefaultCPUGenerator();
    auto& draws = draws_of(default_generator(device_));
    const auto before = plain.get_state();
    plain.set_state(draws.get_state());
    op_.callBoxed(stack_);
    draws.set_state(plain.get_state());
    plain.set_state(before);
  }

  // What was given, where the kernel gives that; a view of it; or what is new.
  Given given_back(const Host& made) {
    if (!made.defined()) return made;
    for (auto& [given, host] : pairs_) {
      if (made.is_same(host)) { only_views_ = false; return given; }
      if (made.storage().is_alias_of(host.storage())) return view_of(given, made);
    }
    only_views_ = false;
    return to_device(made, device_);
  }
  IValue given_back(const IValue& value) {
    if (value.isTensor()) return given_back(value.toTensor());
    if (value.isTensorList()) {
      c10::List<at::Tensor> all;
      for (const at::Tensor& tensor : value.toTensorVector()) all.push_back(given_back(tensor));
      return all;
    }
    only_views_ = false;
    return value;
  }

  // A tensor that the kernel has given another size, and perhaps another memory.
  static void follow(const Given& given, const Host& host) {
    const auto& storage = given.storage();
    if (host.storage().data() != storage.data()) {
      storage.set_data_ptr_noswap(piece_of(host.storage(), given.device().index()));
      storage.set_nbytes(host.storage().nbytes());
    }
    if (host.sizes() != given.sizes() || host.strides() != given.strides())
      given.unsafeGetTensorImpl()->set_sizes_and_strides(host.sizes(), host.strides());
  }

  static constexpr const char* kTwoDevices =
      "Expected all tensors to be on the same device, but found at least two devices, ";
  const c10::OperatorHandle& op_;
  torch::jit::Stack* stack_;
  std::string name_;
  std::vector<std::pair<Given, Host>> pairs_;
  int device_ = -1;
  bool started_ = false, only_views_ = true;
};

void any_kernel(const c10::OperatorHandle& op, c10::DispatchKeySet, torch::jit::Stack* stack) {
  Call(op, stack).run();
}

// ---------------------------------------------------------------- what needs more than that

using Size = c10::IntArrayRef;
using MaybeType = std::optional<at::ScalarType>;
using MaybeLayout = std::optional<at::Layout>;
using MaybeDevice = std::optional<at::Device>;

Given empty(Size size, MaybeType type, MaybeLayout, MaybeDevice device, std::optional<bool>,
            std::optional<at::MemoryFormat> format) {
  c10::DeviceGuard there(device_at(device ? device->index() : -1));
  const c10::DispatchKeySet keys(c10::DispatchKey::PrivateUse1);
  return at::detail::empty_generic(size, &allocator, keys, c10::dtype_or_default(type), format);
}
Given empty_strided(Size size, Size stride, MaybeType type, MaybeLayout, MaybeDevice device, std::optional<bool>) {
  c10::DeviceGuard there(device_at(device ? device->index() : -1));
  const c10::DispatchKeySet keys(c10::DispatchKey::PrivateUse1);
  return at::detail::empty_strided_generic(size, stride, &allocator, keys, c10::dtype_or_default(type));
}

at::Tensor& set_storage(at::Tensor& self, at::Storage storage, int64_t offset, Size size, Size stride) {
  auto* impl = self.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(std::move(storage));
  impl->set_storage_offset(offset);
  if (stride.data()) impl->set_sizes_and_strides(size, stride);
  else impl->set_sizes_contiguous(size);
  return self;
}
at::Tensor& set_whole_storage(at::Tensor& self, at::Storage storage) {
  const auto length = static_cast<int64_t>(storage.nbytes() / self.element_size());
  return set_storage(self, std::move(storage), 0, {length}, {});
}
at::Tensor& set_tensor(at::Tensor& self, const at::Tensor& from) {
  return set_storage(self, from.storage(), from.storage_offset(), from.sizes(), from.strides());
}

at::Tensor copy_from(const at::Tensor& from, const at::Tensor& to, bool without_waiting) {
  if (on_device(from) && on_device(to)) count_launch("copy");
  else if (on_device(from) && without_waiting) count("copies to the host");
  else if (on_device(from)) count_wait("copy to the host");
  else if (without_waiting) count("copies to the device");
  else count_wait("copy to the device");
  host_of(to).copy_(host_of(from));
  return to;
}
at::Tensor copy_from_and_resize(const at::Tensor& from, const at::Tensor& to) {
  to.resize_(from.sizes());
  return copy_from(from, to, false);
}
at::Scalar item(const at::Tensor& self) {
  count_wait("item");
  return at::_local_scalar_dense(host_of(self));
}

void one_device(std::initializer_list<at::Tensor> tensors, const char* name) {
  for (const auto& tensor : tensors)
    TORCH_CHECK(!tensor.defined() || tensor.device() == tensors.begin()->device(),
                "Expected all tensors to be on the same device, but found at least two devices, ",
                tensors.begin()->device(), " and ", tensor.device(), "! (", name, ")");
  count_launch(name);
}
Given convolution(const Given& x, const Given& weight, const std::optional<Given>& bias, Size stride, Size padding,
                  Size dilation, bool transposed, Size output_padding, int64_t groups) {
  one_device({x, weight, bias.value_or(Given())}, "aten::convolution");
  return to_device(at::convolution(host_of(x), host_of(weight), host_of(bias), stride, padding, dilation, transposed,
                                   output_padding, groups), x.device().index());
}
std::tuple<Given, Given, Given> convolution_backward(const Given& grad, const Given& x, const Given& weight, Size stride,
                                                     Size padding, Size dilation, bool transposed, Size output_padding,
                                                     int64_t groups, std::array<bool, 3> wanted) {
  one_device({grad, x, weight}, "aten::convolution_backward");
  const std::vector<int64_t> bias = {transposed ? weight.size(1) * groups : weight.size(0)};
  auto [of_x, of_weight, of_bias] =
      at::convolution_backward(host_of(grad), host_of(x), host_of(weight), c10::OptionalIntArrayRef(bias), stride,
                               padding, dilation, transposed, output_padding, groups, wanted);
  const int device = x.device().index();
  return {to_device(of_x, device), to_device(of_weight, device), to_device(of_bias, device)};
}
// The kinds of attention that are made of one kernel are those of real devices.
int64_t plain_attention(const at::Tensor&, const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&,
                        double, bool, std::optional<double>, bool) {
  return 0;
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&any_kernel>());
}
TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", &empty);
  library.impl("empty_strided", &empty_strided);
  library.impl("set_.source_Storage_storage_offset", &set_storage);
  library.impl("set_.source_Storage", &set_whole_storage);
  library.impl("set_.source_Tensor", &set_tensor);
  library.impl("_copy_from", &copy_from);
  library.impl("_copy_from_and_resize", &copy_from_and_resize);
  library.impl("_local_scalar_dense", &item);
  library.impl("convolution_overrideable", &convolution);
  library.impl("convolution_backward_overrideable", &convolution_backward);
  library.impl("_fused_sdp_choice", &plain_attention);
  // One kernel on a GPU, many small ones where a device has none of its own.
  const auto one_kernel = [&](const std::string& name) {
    library.impl(name.c_str(), torch::CppFunction::makeFromBoxedFunction<&any_kernel>());
  };
  one_kernel("native_layer_norm");
  one_kernel("native_group_norm");
  for (const auto& name : c10::Dispatcher::singleton().getAllOpNames()) {
    const bool listed = name.name.rfind("aten::_foreach_", 0) == 0;
    if (listed) one_kernel(name.overload_name.empty() ? name.name : name.name + "." + name.overload_name);
  }
}

// Mixed precision: the lists that are common to all devices.
#define LOWER(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, lower_precision_fp)
#define FULL(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32)
#define FULL_UNLESS_ASKED(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, fp32_set_opt_dtype)
#define WIDEST(...) KERNEL_PRIVATEUSEONE(__VA_ARGS__, promote)
using namespace at;
using namespace at::autocast;
TORCH_LIBRARY_IMPL(_, AutocastPrivateUse1, m) { m.fallback(torch::CppFunction::makeFallthrough()); }
TORCH_LIBRARY_IMPL(aten, AutocastPrivateUse1, m) {
  AT_FORALL_LOWER_PRECISION_FP(LOWER)
  AT_FORALL_FP32(FULL)
  AT_FORALL_FP32_SET_OPT_DTYPE(FULL_UNLESS_ASKED)
  AT_FORALL_PROMOTE(WIDEST)
}

}  // namespace

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  module.def("start", [](int number) {
    TORCH_CHECK(0 < number && number <= kMost, "1 to ", kMost, " devices");
    devices = number;
    static Hooks hooks;
    if (!at::isPrivateUse1HooksRegistered()) at::RegisterPrivateUse1HooksInterface(&hooks);
  });
  module.def("counts", [] {
    std::lock_guard<std::mutex> held(counting);
    return counters;
  });
  module.def("reset_counts", [] {
    std::lock_guard<std::mutex> held(counting);
    counters.clear();
  });
  module.def("set_memory", [](int64_t bytes) { for (auto& memory : memories) memory.limit = bytes; });
  module.def("device_count", [] { return devices; });
  module.def("current_device", [] { return current; });
  module.def("set_device", [](int index) { current = checked(index); });
  module.def("default_generator", [](int index) { return default_generator(index); });
}
