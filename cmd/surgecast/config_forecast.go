package main

import (
	"fmt"
	"net/url"
	"time"
)

// HookConfig is what a node runs when the pool will soon be full: the way to
// start more relays by themselves.
type HookConfig struct {
	// Command is a program and its arguments. It is run without a shell; what
	// is known stands in its environment, see forecastReport. Default none.
	Command []string `yaml:"command"`

	// Webhook is a URL that gets the same by POST, as JSON. Default none.
	Webhook string `yaml:"webhook"`

	// Under is how little time must be left: the pool will be full so soon.
	// Default 300s.
	Under Duration `yaml:"under"`

	// Every is the least time between two runs: as long as a new relay takes
	// until it is listed, or more are started than needed. Default 5m.
	Every Duration `yaml:"every"`

	// DryRun only logs what would be run. Default true.
	DryRun Bool `yaml:"dry_run"`
}

func defaultHookConfig() HookConfig {
	return HookConfig{Under: Duration(soonUnder), Every: Duration(5 * time.Minute), DryRun: true}
}

// On tells whether there is something to run.
func (c HookConfig) On() bool { return len(c.Command) > 0 || c.Webhook != "" }

func (c HookConfig) complete(d *document) error {
	if c.Webhook != "" {
		u, err := url.Parse(c.Webhook)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
			return d.at(place("on_forecast", "webhook"), "on_forecast.webhook is no URL: write one such as https://hooks.example.org/clone")
		}
	}
	if len(c.Command) > 0 && c.Command[0] == "" {
		return d.at(place("on_forecast", "command"), "on_forecast.command begins with nothing: write the program first, as in [/usr/local/bin/clone, live]")
	}
	if under := time.Duration(c.Under); under < time.Second || under > farthest {
		return d.at(place("on_forecast", "under"), "on_forecast.under: %v is out of bounds: write 1s to 1h", under)
	}
	if time.Duration(c.Every) < time.Second {
		return d.at(place("on_forecast", "every"), "on_forecast.every: %v is too short: write at least 1s", time.Duration(c.Every))
	}
	return nil
}

// Bool is true or false.
type Bool bool

// UnmarshalText reads one of the two words.
func (b *Bool) UnmarshalText(text []byte) error {
	if s := string(text); s != "true" && s != "false" {
		return fmt.Errorf("%q is neither: write true or false", s)
	}
	*b = string(text) == "true"
	return nil
}
