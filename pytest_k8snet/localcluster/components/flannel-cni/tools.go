//go:build tools

// Package tools names the command that the local cluster runs, so that go.mod and go.sum pin what it needs.
package tools

import _ "github.com/containernetworking/plugins/plugins/meta/flannel"
