//! flashlet behind C functions, so that a script can time it beside other libraries.
//!
//! `../compare/ours.py` declares the same structures. A test tool, not a binding: it does what the
//! comparison needs, for one sequence, and no more.

mod rotation;

use flashlet::{
    Attention, Elem, Error, Heads, Inputs, Level, Mask, Offset, Outputs, Precision, Shape, Strides,
    View, ViewMut, Window,
};
use half::{bf16, f16};
use std::ffi::{c_char, c_void};
use std::slice;

/// How numbers are stored. 0: f32, 1: f16, 2: bf16.
type Format = u32;
const F32: Format = 0;
const F16: Format = 1;
const BF16: Format = 2;

/// How products are computed. 0: in f32, 1: in bf16 where flashlet finds that faster.
type Products = u32;
const IN_F32: Products = 0;
const IN_BF16: Products = 1;

/// What a call says when it is over.
#[repr(i32)]
#[derive(Clone, Copy)]
pub enum Status {
    /// The output, or the length of the scratch, is written.
    Done = 0,
    /// flashlet refused the problem and wrote nothing; standard error says why.
    Refused = 1,
    /// flashlet has no such format or precision.
    Unsupported = 2,
}

/// The address of `[len, heads, head_dim]`, and its elements from one token and head to the next.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Tensor {
    data: *mut c_void,
    token: usize,
    head: usize,
}

/// One sequence, one attention.
#[repr(C)]
pub struct Problem {
    q_len: usize,
    kv_len: usize,
    q_heads: usize,
    kv_heads: usize,
    head_dim: usize,
    /// 0: every query sees every key. 1: the keys up to its own position, as `q_offset` says.
    causal: u32,
    /// Of `q`, `k` and `v`; `o` is f32.
    format: Format,
    precision: Products,
    /// The position of query 0, if causal.
    q_offset: i64,
    /// The last so many keys up to its own position, if causal; 0: no window.
    window: usize,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    o: Tensor,
}

/// Floats of scratch that [`attend`] wants for this problem.
///
/// # Safety
/// Both pointers point to what their types say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn scratch_len(problem: *const Problem, len: *mut usize) -> Status {
    // SAFETY: the caller vouches for both pointers.
    let (problem, len) = unsafe { (&*problem, &mut *len) };
    if !problem.is_supported() {
        return Status::Unsupported;
    }
    status(problem.plan().map(|plan| *len = plan.scratch_len()))
}

/// Computes `o`.
///
/// # Safety
/// `problem` points to one. Its tensors hold as many elements of its format (f32 for `o`) as shape
/// and strides say, and `scratch` holds `scratch_len` floats. Nobody else uses `o` or `scratch`
/// meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn attend(
    problem: *const Problem,
    scratch: *mut f32,
    scratch_len: usize,
) -> Status {
    // SAFETY: the caller vouches for the pointer.
    let problem = unsafe { &*problem };
    if !problem.is_supported() {
        return Status::Unsupported;
    }
    // SAFETY: the caller vouches for the pointer and its length.
    let scratch = unsafe { slice::from_raw_parts_mut(scratch, scratch_len) };
    // SAFETY: the caller vouches for the tensors, and `is_supported` for their format.
    status(unsafe { problem.run(scratch) })
}

/// The instruction set that calls run on, as a string without an end, and its length.
///
/// # Safety
/// `len` points to a number.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn level(len: *mut usize) -> *const c_char {
    let name = Level::detect().name();
    // SAFETY: the caller vouches for the pointer.
    unsafe { *len = name.len() };
    name.as_ptr().cast()
}

fn status(result: Result<(), Error>) -> Status {
    match result {
        Ok(()) => Status::Done,
        Err(error) => {
            eprintln!("flashlet: {error}");
            Status::Refused
        }
    }
}

impl Problem {
    /// The one place to say what formats and precisions there are; `run` is where they differ.
    fn is_supported(&self) -> bool {
        matches!(self.format, F32 | F16 | BF16) && matches!(self.precision, IN_F32 | IN_BF16)
    }

    fn shape(&self) -> Shape {
        let heads = Heads::new(self.q_heads, self.kv_heads, self.head_dim);
        Shape { batch: 1, q_len: self.q_len, kv_len: self.kv_len, heads }
    }

    fn mask(&self) -> Mask {
        let causal = Mask::causal(Offset::at(self.q_offset));
        match (self.causal, self.window) {
            (0, _) => Mask::full(),
            (_, 0) => causal,
            (_, keys) => causal & Window::keys(keys),
        }
    }

    fn plan(&self) -> Result<Attention<'static>, Error> {
        let plan = Attention::new(self.shape(), self.mask())?;
        Ok(match self.precision {
            IN_BF16 => plan.precision(Precision::Bf16Products),
            _ => plan,
        })
    }

    /// # Safety
    /// As [`attend`].
    unsafe fn run(&self, scratch: &mut [f32]) -> Result<(), Error> {
        // SAFETY: the caller vouches for the tensors.
        unsafe {
            match self.format {
                F16 => self.run_stored::<f16>(scratch),
                BF16 => self.run_stored::<bf16>(scratch),
                _ => self.run_stored::<f32>(scratch),
            }
        }
    }

    /// # Safety
    /// As [`attend`], and `q`, `k` and `v` hold `T`.
    unsafe fn run_stored<T: Elem>(&self, scratch: &mut [f32]) -> Result<(), Error> {
        let (plan, shape) = (self.plan()?, self.shape());
        // SAFETY: the caller vouches for the tensors.
        let (inputs, o) = unsafe {
            let q = self.q.view::<T>(shape.q())?;
            let k = self.k.view::<T>(shape.k())?;
            let v = self.v.view::<T>(shape.v())?;
            (Inputs::new(q, k, v), self.o.view_mut::<f32>(shape.o())?)
        };
        plan.bind(inputs, Outputs::new(o), scratch)?.run();
        Ok(())
    }
}

impl Tensor {
    fn strides(self) -> Strides {
        Strides { batch: 0, token: self.token, head: self.head }
    }

    /// Elements from the first to the last of `[1, len, heads, dim]`.
    fn extent(self, [_, len, heads, dim]: [usize; 4]) -> usize {
        match (len, heads) {
            (0, _) | (_, 0) => 0,
            _ => (len - 1) * self.token + (heads - 1) * self.head + dim,
        }
    }

    /// # Safety
    /// The tensor holds as many `T` as `dims` and its strides say, and nobody writes them.
    unsafe fn view<'a, T: Copy>(self, dims: [usize; 4]) -> Result<View<'a, T>, Error> {
        // SAFETY: the caller vouches for the elements.
        let data = unsafe { slice::from_raw_parts(self.data.cast::<T>(), self.extent(dims)) };
        View::strided(data, dims, self.strides())
    }

    /// # Safety
    /// As [`Tensor::view`], and nobody else reads or writes the elements.
    unsafe fn view_mut<'a, T: Copy>(self, dims: [usize; 4]) -> Result<ViewMut<'a, T>, Error> {
        // SAFETY: the caller vouches for the elements.
        let data = unsafe { slice::from_raw_parts_mut(self.data.cast::<T>(), self.extent(dims)) };
        ViewMut::strided(data, dims, self.strides())
    }
}
