{{/* Hot standby (`standby.enabled`): pods of a Deployment that share the shards as a Kafka consumer group. */}}

{{/* "true" if each shard is a pod of a StatefulSet, as it is with several shards and without standby. */}}
{{- define "aries-bridge.isStatefulSet" -}}
{{- if and (gt (int .Values.shards) 1) (not .Values.standby.enabled) -}}true{{- end -}}
{{- end -}}

{{/* The number of pods. */}}
{{- define "aries-bridge.replicas" -}}
{{- if not .Values.standby.enabled -}}
{{- int .Values.shards -}}
{{- else if kindIs "invalid" .Values.replicas -}}
{{- add1 (int .Values.shards) -}}
{{- else -}}
{{- int .Values.replicas -}}
{{- end -}}
{{- end -}}

{{/* What the cluster has of this release before an upgrade, empty where it has no pods of it or cannot be asked (`helm
     template`, Argo CD): "shards" (a StatefulSet), "plain" (one bridge), "standby", or "changing": standby, but the bridge
     before it may not have ended. Bridges without standby know nothing of the group's owners, and the other way round,
     so that the ones must have ended before the others begin. Only single objects are looked up, which whoever upgrades
     them may read. */}}
{{- define "aries-bridge.live" -}}
{{- $name := include "aries-bridge.fullname" . -}}
{{- $deployment := lookup "apps/v1" "Deployment" .Release.Namespace $name -}}
{{- $replicas := dig "spec" "replicas" 0 $deployment | int -}}
{{- if lookup "v1" "Service" .Release.Namespace (printf "%s-shards" $name) -}}
shards
{{- else if eq $replicas 0 -}}
{{- else if ne (dig "spec" "template" "metadata" "annotations" "aries-bridge/shard" "" $deployment) "group" -}}
plain
{{- else if ne (dig "spec" "strategy" "type" "" $deployment) "Recreate" -}}
standby
{{- else -}}
{{- $isSeen := eq (dig "metadata" "generation" 0 $deployment | int) (dig "status" "observedGeneration" 0 $deployment | int) -}}
{{- $isStarted := ge (dig "status" "updatedReplicas" 0 $deployment | int) $replicas -}}
{{- ternary "standby" "changing" (and $isSeen $isStarted) -}}
{{- end -}}
{{- end -}}

{{/* How the Deployment replaces pods. With standby a new pod waits for the old one to hand its shards over, which a bridge
     without standby does not do: the upgrade that switches it on ends that first. */}}
{{- define "aries-bridge.strategy" -}}
{{- if .Values.strategy.type -}}
{{- .Values.strategy.type -}}
{{- else if and .Values.standby.enabled (not (has (include "aries-bridge.live" .) (list "plain" "changing"))) -}}
RollingUpdate
{{- else -}}
Recreate
{{- end -}}
{{- end -}}

{{/* Where pods are to run, unless the values say so. Old pods do not count, as they end (Kubernetes 1.27 or newer). */}}
{{- define "aries-bridge.spread" -}}
{{- if .Values.topologySpreadConstraints -}}
{{- toYaml .Values.topologySpreadConstraints -}}
{{- else if .Values.standby.enabled -}}
{{- range $key := list "kubernetes.io/hostname" "topology.kubernetes.io/zone" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  matchLabelKeys: [pod-template-hash]
{{- end -}}
{{- end -}}
{{- end -}}

{{/* "true" if there is a PodDisruptionBudget. */}}
{{- define "aries-bridge.hasBudget" -}}
{{- $enabled := .Values.podDisruptionBudget.enabled -}}
{{- if kindIs "invalid" $enabled | ternary .Values.standby.enabled $enabled -}}true{{- end -}}
{{- end -}}

{{/* The consumer group by which pods share the shards. */}}
{{- define "aries-bridge.group" -}}
{{- .Values.bridge.group | default (printf "%s/%s" .Release.Namespace (include "aries-bridge.fullname" .)) -}}
{{- end -}}

{{- define "aries-bridge.check.standby" -}}
{{- $v := .Values -}}
{{- $replicas := include "aries-bridge.replicas" . | int -}}
{{- $live := include "aries-bridge.live" . -}}
{{- if $v.standby.enabled }}
{{- if $v.bridge.instance }}
- bridge.instance is {{ $v.bridge.instance }}, but standby.enabled is true: the pods of a group need different names. Leave it empty, so that each has the name of its pod.
{{- end }}
{{- $least := $v.podDisruptionBudget.minAvailable -}}
{{- if and (include "aries-bridge.hasBudget" .) (regexMatch "^[0-9]+$" (include "aries-bridge.text" $least)) }}
{{- if and (gt $replicas 1) (ge (int $least) $replicas) }}
- podDisruptionBudget.minAvailable is {{ int $least }}, but there are {{ $replicas }} pods: no node with one could be drained. Set it to {{ sub $replicas 1 }} or less, or leave it empty.
{{- end }}
{{- end }}
{{- $partitions := $v.strimzi.topics.shardPartitions -}}
{{- if and (not (kindIs "invalid" $partitions)) (lt (int $partitions) (int $v.shards)) }}
- strimzi.topics.shardPartitions is {{ int $partitions }}, but shards is {{ int $v.shards }}: each shard needs a partition. Set it to {{ int $v.shards }} or more, or leave it empty.
{{- end }}
{{- if and (eq $live "shards") (gt $replicas 0) }}
- standby.enabled is true, but this release has shards without standby (a StatefulSet), whose pods would publish beside the new ones: upgrade with replicas=0 first, wait until the pods of the StatefulSet have ended, then upgrade without it.
{{- end }}
{{- else }}
{{- if not (kindIs "invalid" $v.replicas) }}
- replicas is {{ int $v.replicas }}, but standby.enabled is false: bridges that are not a group would all publish the same. Set standby.enabled to true, or leave replicas empty.
{{- end }}
{{- if and (include "aries-bridge.isStatefulSet" .) (has $live (list "standby" "changing")) }}
- standby.enabled is false and shards is {{ int $v.shards }}, but this release has pods with standby, which would publish beside the new ones: upgrade with standby.enabled=true and replicas=0 first, wait until its pods have ended, then upgrade without them.
{{- end }}
{{- end }}
{{- end -}}
