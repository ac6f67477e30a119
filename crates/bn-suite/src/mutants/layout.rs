//! Memory: strides, offset and order are the input's, the answer keeps the order,
//! and grad_output may lie otherwise than the input.

use std::borrow::Cow;

use super::{Mutant, mutant};
use crate::engines::textbook::memory::{Memory, Strides, read};
use crate::engines::textbook::recipe::{Context, Recipe};
use crate::tensor::Layout;

pub(super) fn mutants() -> Vec<Mutant> {
    [channels_last(), strided(), gradients(), answers()].into_iter().flatten().collect()
}

fn packed(shape: &[usize]) -> Strides {
    Strides::of(shape, &Layout::Contiguous)
}

/// The strides that are right, where `changed` does not hold; else those of `wrong`.
fn unless(
    changed: bool,
    shape: &[usize],
    layout: &Layout,
    wrong: impl FnOnce(Strides) -> Strides,
) -> Strides {
    let right = Strides::of(shape, layout);
    if changed { wrong(right) } else { right }
}

fn is_strided(layout: &Layout) -> bool {
    matches!(layout, Layout::Strided { .. })
}

fn channels_last() -> Vec<Mutant> {
    vec![
        mutant!("channels-last-as-contiguous", "reads channels-last memory as if it were contiguous", "", {
            fn strides(&self, shape: &[usize], layout: &Layout) -> Strides {
                unless(*layout == Layout::ChannelsLast, shape, layout, |_| packed(shape))
            }
        }),
        mutant!("channels-last-3d-as-contiguous", "reads 5-D channels-last memory as contiguous", "", {
            fn strides(&self, shape: &[usize], layout: &Layout) -> Strides {
                let changed = *layout == Layout::ChannelsLast && shape.len() == 5;
                unless(changed, shape, layout, |_| packed(shape))
            }
        }),
        mutant!("channels-last-3d-depth-inside", "reads 5-D channels-last memory as N, H, W, D, C", "", {
            fn strides(&self, shape: &[usize], layout: &Layout) -> Strides {
                let changed = *layout == Layout::ChannelsLast && shape.len() == 5;
                unless(changed, shape, layout, |_| Strides::packed(shape, vec![0, 3, 4, 2, 1]))
            }
        }),
        mutant!("channels-last-width-first", "reads channels-last memory as N, W, H, C", "", {
            fn strides(&self, shape: &[usize], layout: &Layout) -> Strides {
                let changed = *layout == Layout::ChannelsLast && shape.len() == 4;
                unless(changed, shape, layout, |_| Strides::packed(shape, vec![0, 3, 2, 1]))
            }
        }),
        mutant!(
            "channels-last-only-for-even-c",
            "reads channels-last memory with an odd C as contiguous",
            "",
            {
                fn strides(&self, shape: &[usize], layout: &Layout) -> Strides {
                    let changed = *layout == Layout::ChannelsLast && shape[1] % 2 == 1;
                    unless(changed, shape, layout, |_| packed(shape))
                }
            }
        ),
    ]
}

fn strided() -> Vec<Mutant> {
    vec![
        mutant!("strides-ignored", "reads strided memory as if it were contiguous", "", {
            fn strides(&self, shape: &[usize], layout: &Layout) -> Strides {
                unless(is_strided(layout), shape, layout, |right| Strides {
                    offset: right.offset,
                    ..packed(shape)
                })
            }
        }),
        mutant!("offset-ignored", "reads from the start of the storage", "", {
            fn strides(&self, shape: &[usize], layout: &Layout) -> Strides {
                Strides { offset: 0, ..Strides::of(shape, layout) }
            }
        }),
        mutant!("offset-twice", "adds the storage offset twice", "", {
            fn strides(&self, shape: &[usize], layout: &Layout) -> Strides {
                unless(true, shape, layout, |right| Strides { offset: 2 * right.offset, ..right })
            }
        }),
        mutant!("last-axis-taken-as-dense", "takes the stride of the last axis for 1", "", {
            fn strides(&self, shape: &[usize], layout: &Layout) -> Strides {
                unless(is_strided(layout), shape, layout, |mut right| {
                    right.strides.last_mut().into_iter().for_each(|stride| *stride = 1);
                    right
                })
            }
        }),
        mutant!("batch-stride-taken-as-dense", "takes the batch's stride for C·H·W", "", {
            fn strides(&self, shape: &[usize], layout: &Layout) -> Strides {
                unless(is_strided(layout), shape, layout, |mut right| {
                    right.strides[0] = shape[1..].iter().product();
                    right
                })
            }
        }),
        mutant!("channel-stride-taken-as-dense", "takes the channels' stride for H·W", "", {
            fn strides(&self, shape: &[usize], layout: &Layout) -> Strides {
                unless(is_strided(layout), shape, layout, |mut right| {
                    right.strides[1] = shape[2..].iter().product();
                    right
                })
            }
        }),
        mutant!("height-taken-as-rows-of-width", "takes the stride of H for W times that of W", "", {
            fn strides(&self, shape: &[usize], layout: &Layout) -> Strides {
                unless(is_strided(layout) && shape.len() > 3, shape, layout, |mut right| {
                    let (height, width) = (shape.len() - 2, shape.len() - 1);
                    right.strides[height] = right.strides[width] * shape[width];
                    right
                })
            }
        }),
        mutant!("strides-ignored-in-rank-2", "reads strided (N, C) memory as contiguous", "", {
            fn strides(&self, shape: &[usize], layout: &Layout) -> Strides {
                let changed = is_strided(layout) && shape.len() == 2;
                unless(changed, shape, layout, |right| Strides { offset: right.offset, ..packed(shape) })
            }
        }),
        mutant!("strides-ignored-in-rank-3", "reads strided (N, C, L) memory as contiguous", "", {
            fn strides(&self, shape: &[usize], layout: &Layout) -> Strides {
                let changed = is_strided(layout) && shape.len() == 3;
                unless(changed, shape, layout, |right| Strides { offset: right.offset, ..packed(shape) })
            }
        }),
        mutant!("strides-ignored-in-rank-5", "reads strided (N, C, D, H, W) memory as contiguous", "", {
            fn strides(&self, shape: &[usize], layout: &Layout) -> Strides {
                let changed = is_strided(layout) && shape.len() == 5;
                unless(changed, shape, layout, |right| Strides { offset: right.offset, ..packed(shape) })
            }
        }),
    ]
}

fn gradients() -> Vec<Mutant> {
    vec![
        mutant!("gradient-read-as-input", "reads grad_output with the input's strides", "", {
            fn read_gradient<'m>(&self, memory: &Memory<'m>, cx: &Context) -> Cow<'m, [f64]> {
                if memory.layout == cx.layout {
                    return read(self, memory);
                }
                let places = self.strides(cx.shape, cx.layout).places(cx.shape);
                places.into_iter().map(|place| memory.cells.get(place).copied().unwrap_or(0.0)).collect()
            }
        }),
        mutant!("gradient-read-as-contiguous", "reads grad_output as if it were contiguous", "", {
            fn read_gradient<'m>(&self, memory: &Memory<'m>, _cx: &Context) -> Cow<'m, [f64]> {
                let count = memory.shape.iter().product();
                memory.cells.iter().copied().take(count).collect()
            }
        }),
        mutant!("gradient-offset-ignored", "reads grad_output from the start of its storage", "", {
            fn read_gradient<'m>(&self, memory: &Memory<'m>, _cx: &Context) -> Cow<'m, [f64]> {
                let right = Strides::of(memory.shape, memory.layout);
                let places = Strides { offset: 0, ..right }.places(memory.shape);
                places.into_iter().map(|place| memory.cells[place]).collect()
            }
        }),
    ]
}

fn answers() -> Vec<Mutant> {
    vec![
        mutant!("answers-contiguous", "answers channels-last input in contiguous order", "", {
            fn answer_layout(&self, _shape: &[usize], _layout: &Layout) -> Layout {
                Layout::Contiguous
            }
        }),
        mutant!("answers-channels-last", "answers 4-D contiguous input in channels-last order", "", {
            fn answer_layout(&self, shape: &[usize], layout: &Layout) -> Layout {
                let changed = shape.len() == 4 && *layout == Layout::Contiguous;
                if changed {
                    Layout::ChannelsLast
                } else {
                    crate::engines::textbook::memory::answer_layout(shape, layout)
                }
            }
        }),
        mutant!(
            "answers-with-the-input-strides",
            "answers strided input with gaps, as the input has them",
            "",
            {
                fn answer_layout(&self, _shape: &[usize], layout: &Layout) -> Layout {
                    layout.clone()
                }
            }
        ),
        mutant!("answer-order-mixed-up", "writes contiguous values into a channels-last answer", "", {
            fn write(&self, values: Vec<f64>, shape: &[usize], layout: &Layout) -> Vec<f64> {
                match layout {
                    // Written one after the other, read by the strides.
                    Layout::ChannelsLast => Strides::of(shape, layout)
                        .places(shape)
                        .into_iter()
                        .map(|place| values[place])
                        .collect(),
                    _ => values,
                }
            }
        }),
    ]
}
