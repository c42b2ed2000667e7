// Values that YAML 1.1 reads in its own way, with what PyYAML 6.0 makes of them under OmegaConf 2.0.0.

/** Texts after "a: ", and their values. */
export const yamlScalars: readonly (readonly [text: string, value: unknown])[] = [
  ...[["020", 16], ["-020", -16], ["0_7", 7], ["08", "08"], ["0o20", "0o20"]] as const,
  ...[["0x1F", 31], ["+0x1f", 31], ["0x", "0x"], ["0b101", 5], ["0b2", "0b2"]] as const,
  ...[["1_000", 1000], ["1__0", 10], ["_1", "_1"], ["-0", 0], ["+1", 1]] as const,
  ...[["1:30", 90], ["1:60", "1:60"], ["01:30", "01:30"], ["1:30.5", 90.5], ["190:20:30", 685230]] as const,
  ...[["1e-4", 1e-4], ["1E5", 1e5], ["12e03", 12000], ["1.e4", 1e4], ["4.5e-06", 4.5e-6]] as const,
  ...[[".5", 0.5], ["0.", 0], ["1_000.5", 1000.5], ["-1e3", -1000], ["-.5", "-.5"], [
    "1.2.3",
    "1.2.3",
  ]] as const,
  ...[["yes", true], ["No", false], ["ON", true], ["off", false], ["y", "y"], ["tRUE", "tRUE"]] as const,
  ...[["~", null], ["", null], ["Null", null], ["null # nothing", null], ["nul", "nul"]] as const,
  ...[["'yes'", "yes"], ['"020"', "020"], ["2021-07-09", "2021-07-09"], ["[yes, 020]", [true, 16]]] as const,
  ...[["!!str 12", "12"], ["!!float 3.5", 3.5], ["!!int '7'", 7]] as const,
];
