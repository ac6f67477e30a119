//! The colours of a light and of a dark screen, and the stand-ins that plotters draws with.
//!
//! A drawing is made once and shown on both, so it names roles and no colours: ink, grid,
//! paper, the n-th series. plotters knows only RGB; a role is a colour that nobody would
//! choose, such as `#010101`. In a page, rules of CSS turn it into the role's colour; in a
//! file of its own the light colour is put in its place, for whatever shows SVG without
//! CSS, and rules for the dark ones go with it.

use plotters::style::RGBColor;

use crate::charts::COLOURS;

/// Of text and axes.
pub const INK: RGBColor = RGBColor(1, 1, 1);
/// Of lines behind everything.
pub const GRID: RGBColor = RGBColor(2, 2, 2);

/// Of a series; a dashed one is another colour, since plotters knows no dashes.
pub fn series(index: usize, dashed: bool) -> RGBColor {
    RGBColor(10, dashed.into(), (index % COLOURS) as u8)
}

/// How long a dash is, and the gap after it.
const DASHES: &str = "7 5";

struct Palette {
    paper: &'static str,
    ink: &'static str,
    grid: &'static str,
    faint: &'static str,
    /// Those of Okabe and Ito, which the colour-blind tell apart, made darker or lighter
    /// where the paper asks for it.
    series: [&'static str; COLOURS],
}

const LIGHT: Palette = Palette {
    paper: "#ffffff",
    ink: "#1b1b1b",
    grid: "#d9d9d9",
    faint: "#666666",
    series: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#3a93c4", "#7a4fb5", "#1b1b1b"],
};

const DARK: Palette = Palette {
    paper: "#161616",
    ink: "#e8e8e8",
    grid: "#3c3c3c",
    faint: "#a0a0a0",
    series: ["#4fa8dc", "#ff8a3c", "#2fc59a", "#e3a0c6", "#e8c63a", "#9ad4f5", "#b99af0", "#e8e8e8"],
};

impl Palette {
    fn variables(&self) -> String {
        let Palette { paper, ink, grid, faint, series } = self;
        let series: String = (0..).zip(series).map(|(n, colour)| format!(" --s{n}: {colour};")).collect();
        format!(":root {{ --paper: {paper}; --ink: {ink}; --grid: {grid}; --faint: {faint};{series} }}")
    }

    /// Each stand-in that a picture may hold, and its colour here.
    fn stand_ins(&self) -> impl Iterator<Item = (String, &'static str)> {
        let series = (0..).zip(self.series).map(|(n, colour)| (format!("#0A000{n}"), colour));
        [("#010101".into(), self.ink), ("#020202".into(), self.grid)].into_iter().chain(series)
    }
}

/// The colours of a page, and the rules that bring them into its pictures.
pub fn page_rules() -> String {
    let mut rules =
        format!("{}\n@media (prefers-color-scheme: dark) {{ {} }}\n", LIGHT.variables(), DARK.variables());
    for (role, name) in [("010101", "ink"), ("020202", "grid")] {
        for property in ["fill", "stroke"] {
            rules += &format!("svg [{property}=\"#{role}\"] {{ {property}: var(--{name}); }}\n");
        }
    }
    for n in 0..COLOURS {
        // In the middle, whether it is dashed.
        for property in ["fill", "stroke"] {
            rules +=
                &format!("svg [{property}^=\"#0A\"][{property}$=\"0{n}\"] {{ {property}: var(--s{n}); }}\n");
        }
        rules += &format!(".series-{n} {{ background: var(--s{n}); }}\n");
    }
    rules + &format!("svg [stroke^=\"#0A01\"] {{ stroke-dasharray: {DASHES}; }}\n")
}

/// The colour of what a picture lies on, where it does not lie on a page.
pub const PAPER: &str = LIGHT.paper;

/// The drawing in the colours of a light screen.
pub fn in_light(drawing: &str) -> String {
    let dashed = |text: String, n| {
        let [from, to] = [format!("#0A010{n}"), format!("#0A000{n}")];
        text.replace(&format!("stroke=\"{from}\""), &format!("stroke=\"{to}\" stroke-dasharray=\"{DASHES}\""))
            .replace(&from, &to)
    };
    let solid = (0..COLOURS).fold(drawing.to_owned(), dashed);
    LIGHT
        .stand_ins()
        .fold(solid, |text, (from, to)| text.replace(&format!("\"{from}\""), &format!("\"{to}\"")))
}

/// Rules that turn what [`in_light`] gives dark on a dark screen.
pub fn dark_rules() -> String {
    let roles = LIGHT.stand_ins().map(|(_, light)| light).zip(DARK.stand_ins().map(|(_, dark)| dark));
    let rules = roles.chain([(LIGHT.paper, DARK.paper)]).map(|(light, dark)| {
        format!("[fill=\"{light}\"] {{ fill: {dark} }} [stroke=\"{light}\"] {{ stroke: {dark} }}\n")
    });
    format!("@media (prefers-color-scheme: dark) {{\n{}}}", rules.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_stand_in_is_left_in_a_light_picture() {
        let drawing =
            "<g fill=\"#010101\" stroke=\"#020202\"/><g stroke=\"#0A0003\"/><g stroke=\"#0A0107\"/>";
        let expected = "<g fill=\"#1b1b1b\" stroke=\"#d9d9d9\"/><g stroke=\"#cc79a7\"/>\
                        <g stroke=\"#1b1b1b\" stroke-dasharray=\"7 5\"/>";
        assert_eq!(in_light(drawing), expected);
    }

    #[test]
    fn each_colour_has_its_dark_one() {
        let rules = dark_rules();
        for (light, dark) in LIGHT.series.iter().zip(DARK.series) {
            assert!(rules.contains(&format!("[stroke=\"{light}\"] {{ stroke: {dark} }}")), "{light}");
        }
        assert!(rules.contains("[fill=\"#ffffff\"] { fill: #161616 }"));
    }

    /// Two series in one colour could not be told apart, nor one from the paper.
    #[test]
    fn no_colour_is_there_twice() {
        for palette in [LIGHT, DARK] {
            let mut all = palette.series.to_vec();
            all.extend([palette.paper, palette.grid]);
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), COLOURS + 2);
        }
    }
}
