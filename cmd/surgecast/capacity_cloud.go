package main

import "strings"

// A cloud's machines have cards that tell no speed, or that of the host. What a
// type of machine may send is in the cloud's documents, of which this is a
// part. A type that is not here is not known; nothing is guessed from its name.
//
// Where a cloud tells a baseline and a burst it is the baseline: an evening is
// longer than any burst. Where less goes to the Internet it is that.

// cloudSpeed is what an instance of a cloud may send for as long as it likes, 0
// when that is not known. Hetzner and DigitalOcean tell a machine no type, and
// the flavors of OpenStack are each operator's own.
func cloudSpeed(c cloud) BitRate {
	provider, _, _ := strings.Cut(c.Instance, "/")
	switch provider {
	case "ec2":
		family, size, _ := strings.Cut(c.Type, ".")
		return min(ec2Baseline(family)[size]*megabit, ec2Internet)
	case "gcp":
		return min(gcpEgress[c.Type]*megabit, gcpInternet)
	case "azure":
		return azureExpected[c.Type] * megabit
	}
	return 0
}

const megabit BitRate = 1e6

// ec2Internet is what an instance of fewer than 32 vCPUs gets through an Internet
// gateway, and only such are listed. See "Amazon EC2 instance network bandwidth"
// of its user guide, as of 2026.
const ec2Internet BitRate = 5e9

// ec2Baseline are the baselines of a family's sizes, Mbit/s, as
// DescribeInstanceTypes has them as BaselineBandwidthInGbps: compared in 2026 with
// the table that Karpenter's AWS provider generates from it
// (zz_generated.bandwidth.go).
func ec2Baseline(family string) map[string]BitRate {
	switch family {
	case "t3", "t3a", "t4g":
		return map[string]BitRate{"nano": 32, "micro": 64, "small": 128, "medium": 256, "large": 512, "xlarge": 1024, "2xlarge": 2048}
	case "m5", "m5a", "m5d", "c5", "c5a", "c5d", "r5", "r5a", "r5d", "m6g", "c6g", "r6g":
		return map[string]BitRate{"medium": 500, "large": 750, "xlarge": 1250, "2xlarge": 2500, "4xlarge": 5000}
	case "m6i", "c6i", "r6i", "m6a", "c6a", "r6a", "m7i", "c7i", "r7i", "m7a", "c7a", "r7a":
		return map[string]BitRate{"medium": 390, "large": 781, "xlarge": 1562, "2xlarge": 3125, "4xlarge": 6250}
	case "m7g", "c7g", "r7g", "m8g", "c8g", "r8g", "m8a", "c8a", "r8a", "m8i", "c8i", "r8i":
		return map[string]BitRate{"medium": 520, "large": 937, "xlarge": 1875, "2xlarge": 3750, "4xlarge": 7500}
	case "c5n":
		return map[string]BitRate{"large": 3000, "xlarge": 5000, "2xlarge": 10000, "4xlarge": 15000}
	case "c6gn":
		return map[string]BitRate{"medium": 1600, "large": 3000, "xlarge": 6300, "2xlarge": 12500, "4xlarge": 25000}
	case "c6in", "m6in", "r6in":
		return map[string]BitRate{"large": 3125, "xlarge": 6250, "2xlarge": 12500, "4xlarge": 25000}
	}
	return nil
}

// gcpInternet is what an instance sends to external addresses in all, unless
// Tier_1 networking is bought for it. See "Network bandwidth" of the Compute
// Engine documents (cloud.google.com/compute/docs/network-bandwidth).
const gcpInternet BitRate = 7e9

// gcpEgress is the greatest egress of a machine type, Mbit/s. See "General-purpose
// machine family" of the Compute Engine documents
// (docs.cloud.google.com/compute/docs/general-purpose-machines), compared in 2026.
// Google tells no baseline.
var gcpEgress = map[string]BitRate{
	"e2-micro": 1000, "e2-small": 1000, "e2-medium": 2000,
	"e2-standard-2": 4000, "e2-standard-4": 8000, "e2-standard-8": 16000,
	"e2-highcpu-2": 4000, "e2-highcpu-4": 8000, "e2-highcpu-8": 16000,
	"n2-standard-2": 10000, "n2-standard-4": 10000, "n2-standard-8": 16000,
}

// azureExpected is the "max network bandwidth" of a size, Mbit/s, which is what is
// to be expected, and no promise. See the pages of the Dv3, Dsv3, Dsv5 and Fsv2 series
// (learn.microsoft.com/azure/virtual-machines/sizes), compared in 2026; of D8 and D16
// of version 3 those of 2022 said 4000 and 8000. The card says the host's speed
// there, many times as much.
var azureExpected = map[string]BitRate{
	"Standard_D2_v3": 1000, "Standard_D4_v3": 2000, "Standard_D8_v3": 2000, "Standard_D16_v3": 2000,
	"Standard_D2s_v3": 1000, "Standard_D4s_v3": 2000, "Standard_D8s_v3": 2000, "Standard_D16s_v3": 2000,
	"Standard_D2_v5": 12500, "Standard_D4_v5": 12500, "Standard_D8_v5": 12500, "Standard_D16_v5": 12500,
	"Standard_D2s_v5": 12500, "Standard_D4s_v5": 12500, "Standard_D8s_v5": 12500, "Standard_D16s_v5": 12500,
	"Standard_F2s_v2": 5000, "Standard_F4s_v2": 10000, "Standard_F8s_v2": 12500, "Standard_F16s_v2": 12500,
}
