// Package config holds the settings of berthd: their defaults, the optional TOML file and the checks.
//
// It only reads the one file it is given and touches nothing else; that the folders exist and can be written is found
// out by whoever uses them. A [Config] is a plain value: nothing changes it once [Config.Check] has passed.
package config
